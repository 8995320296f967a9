"""composer.api: a project from Python, with blocking calls and on an event loop."""

import os
from contextlib import aclosing

import anyio
import pytest

from composer.api import AsyncProject, ComposerError, Project

COMPOSE = """
services:
  web:
    image: busybox
    command: sh -c "echo hello; exec sleep 1000"
    ports: ["127.0.0.1:18231:80"]
    healthcheck: {test: "true", interval: 60s}
  extra:
    image: busybox
    command: sh -c "echo bye; exit 3"
    profiles: [more]
"""


@pytest.fixture
def asked(roots, tmp_path):
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    return {"folder": str(tmp_path), "name": "fromcode", "environ": {**os.environ, **roots.environment()}}


def test_a_project_from_up_to_down(asked):
    with Project(**asked) as project:
        (web,) = project.up(wait=True)
        assert (web.name, web.service, web.state, web.health) == ("fromcode-web-1", "web", "running", "healthy")
        assert [(port.host, port.published, port.target) for port in web.ports] == [("127.0.0.1", 18231, 80)]
        assert [(line.container, line.text) for line in project.logs()] == [("web-1", "hello")]
        done = project.exec("web", "sh", "-c", "cat; echo $X >&2; exit 3", input=b"given", environment={"X": "y"})
        assert (done.exit_code, done.stdout, done.stderr) == (3, b"given", b"y\n")
        first, second, *_ = project.events(since="1h", until="0s")
        assert [(event.action, event.id) for event in (first, second)] == [("create", web.id), ("start", web.id)]
        following = project.logs("web", follow=True)
        assert next(following).text == "hello"
        following.close()
    assert Project(**asked).ps() == []


def test_failures_are_errors_with_the_commands_words(asked):
    project = Project(**asked)
    with pytest.raises(ComposerError, match="no such service: nosuch") as error:
        project.up("nosuch")
    assert error.value.exit_code == 1
    with pytest.raises(ComposerError, match="no such service: nosuch"):
        list(project.logs("nosuch"))
    with pytest.raises(ComposerError, match="absent is not a folder"):
        Project(f"{asked['folder']}/absent").ps()
    with pytest.raises(ValueError, match="the program is missing"):
        project.exec("web")


def test_on_an_event_loop(asked):
    async def work():
        async with AsyncProject(profiles=["more"], **asked) as project:
            containers = {one.service: one for one in await project.up(scale={"web": 1})}
            assert set(containers) == {"web", "extra"}
            seen = []
            async with aclosing(project.logs("extra", follow=True)) as lines:
                async for line in lines:
                    seen.append(line.text)
            assert seen == ["bye"]
            assert {one.service: one.exit_code for one in await project.ps()}["extra"] == 3
            assert (await project.exec("web", "echo", "out")).stdout == b"out\n"
            async with aclosing(project.events()) as events, anyio.create_task_group() as tasks:
                tasks.start_soon(project.down)
                async for event in events:
                    if event.action == "destroy":
                        break

    anyio.run(work)
