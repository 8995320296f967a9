"""logs, wait, events and the foreground of `up`, on containers that the tests start and stop."""

from __future__ import annotations

import importlib
import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from composer.cli.parsing.flags import parse
from composer.cli.parsing.options import EVERYWHERE, GLOBAL
from composer.cli.project.context import Context
from engine.spec.state import Health, Status
from tests.cli.file_engine import FileEngine


@pytest.fixture
def engine(tmp_path: Path) -> FileEngine:
    return FileEngine(tmp_path)


class Output(io.StringIO):
    """Standard output that a test can wait on."""

    def __init__(self) -> None:
        super().__init__()
        self._grown = threading.Condition()

    def write(self, text: str) -> int:
        with self._grown:
            length = super().write(text)
            self._grown.notify_all()
            return length

    def until(self, text: str) -> None:
        with self._grown:
            assert self._grown.wait_for(lambda: text in self.getvalue(), 10), f"no {text!r} in {self.getvalue()!r}"


@pytest.fixture
def output() -> Iterator[Output]:
    before = sys.stdout
    yield Output()
    sys.stdout = before


def command(engine: FileEngine, output: Output, name: str, *words: str) -> Callable[[], int]:
    sys.stdout = output  # not in the fixture: pytest replaces it again when the test begins
    module = importlib.import_module(f"composer.cli.commands.{name}")
    context = Context(parse(GLOBAL, ["-p", "shop"]), open_engine=lambda roots: engine, environ={})  # type: ignore[arg-type, return-value]
    context.declared_services = lambda: {"web", "db"}  # type: ignore[method-assign]
    args = parse((*module.COMMAND.flags, *EVERYWHERE), words)
    return lambda: int(module.run(context, args))


def background(work: Callable[[], int]) -> tuple[threading.Thread, list[int]]:
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(work()), daemon=True)
    thread.start()
    return thread, result


def test_logs_are_merged_by_time(engine: FileEngine, output: Output) -> None:
    engine.put("web")
    engine.put("db", status=Status.EXITED)
    engine.write("web1", "second\n", at=2)
    engine.write("db1", "first\n", at=1)
    engine.write("db1", "half of ", at=3)
    engine.write("web1", "between\n", at=4)
    engine.write("db1", "a line\n", at=5)
    assert command(engine, output, "logs")() == 0
    assert output.getvalue() == "db-1   | first\nweb-1  | second\nweb-1  | between\ndb-1   | half of a line\n"


def test_tail_since_timestamps_and_no_prefix(engine: FileEngine, output: Output) -> None:
    engine.put("web")
    for second in (1, 2, 3):
        engine.write("web1", f"line {second}\n", at=second * 10**9 + 5)
    command(engine, output, "logs", "-n", "1", "-t", "--no-log-prefix")()
    assert output.getvalue() == "1970-01-01T00:00:03.000000005Z line 3\n"
    command(engine, output, "logs", "--since", "2", "web")()
    assert output.getvalue().endswith("Z line 3\nweb-1  | line 2\nweb-1  | line 3\n")


def test_a_last_line_without_its_newline(engine: FileEngine, output: Output) -> None:
    engine.put("web", status=Status.EXITED)
    engine.write("web1", "whole\n", at=1)
    engine.write("web1", "unfi", at=2)
    engine.write("web1", "nished", at=3)
    command(engine, output, "logs", "-t")()
    assert output.getvalue().splitlines() == [
        "web-1  | 1970-01-01T00:00:00.000000001Z whole",
        "web-1  | 1970-01-01T00:00:00.000000002Z unfinished",
    ]


def test_following_through_growth_recreation_and_the_end(engine: FileEngine, output: Output) -> None:
    engine.put("web")
    engine.write("web1", "old\n")
    thread, result = background(command(engine, output, "logs", "-f"))
    output.until("web-1  | old\n")
    engine.write("web1", "new\n")
    output.until("web-1  | new\n")
    engine.put("db")
    engine.write("db1", "also\n")
    output.until("db-1   | also\n")
    engine.remove("web1")
    engine.put("web", 2)
    engine.write("web2", "again\n")
    output.until("web-2  | again\n")
    engine.write("web2", "unfinished")
    engine.put("web", 2, status=Status.EXITED, finished_at=time.time())
    engine.put("db", status=Status.EXITED, finished_at=time.time())
    thread.join(10)
    assert result == [0] and "web-2  | unfinished\nweb-2 exited with code 0\n" in output.getvalue()
    assert "db-1 exited with code 0\n" in output.getvalue()


def test_an_end_is_reported_even_after_a_restart(engine: FileEngine, output: Output) -> None:
    from composer.cli.render.lines import Lines
    from composer.cli.terminal.follow import Follower
    from engine.spec.state import ContainerExit

    context = Context(parse(GLOBAL, ["-p", "shop"]), open_engine=lambda roots: engine, environ={})  # type: ignore[arg-type, return-value]
    earlier, first, second = (ContainerExit(exit_code=code, finished_at=time.time() - 9 + code) for code in (1, 2, 3))
    engine.put("web", exit_history=(earlier,))
    sys.stdout = output
    ended: list[str] = []
    follower = Follower(context, Lines(output, output), ended=lambda record: ended.append(record.id))
    follower.open(context.containers())
    engine.put("web", exit_history=(earlier, first, second))
    follower._refresh()
    engine.put("web", exit_history=(earlier, first, second), status=Status.EXITED, finished_at=time.time(), exit_code=4)
    follower._refresh()
    codes = [line.partition("code ")[2] for line in output.getvalue().splitlines()]
    assert codes == ["2 (restarting)", "3 (restarting)", "4"] and len(ended) == 1


def test_wait_prints_the_exit_codes(engine: FileEngine, output: Output) -> None:
    engine.put("web")
    engine.put("db")
    thread, result = background(command(engine, output, "wait", "web", "db"))
    assert engine.watched.wait(10)
    engine.put("db", status=Status.EXITED, exit_code=3, finished_at=time.time())
    output.until('container "shop-db-1" exited with status code 3\n')
    engine.put("web", status=Status.EXITED, exit_code=4, finished_at=time.time())
    thread.join(10)
    assert result == [4]


def test_followed_events(engine: FileEngine, output: Output) -> None:
    began = time.time()
    engine.put("web", created_at=began, started_at=began + 0.001)
    until = began + 3
    thread, result = background(
        command(engine, output, "events", "--json", "--since", str(began), "--until", str(until))
    )
    output.until('"start"')
    engine.put("web", started_at=began + 0.001, health=Health(status="healthy"))
    output.until('"health_status: healthy"')
    engine.put("web", started_at=began + 0.001, status=Status.PAUSED)
    output.until('"pause"')
    engine.put("web", started_at=began + 0.001, status=Status.EXITED, exit_code=137, finished_at=time.time())
    output.until('"die"')
    engine.remove("web1")
    output.until('"destroy"')
    events: list[dict[str, Any]] = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [event["action"] for event in events] == [
        "create", "start", "health_status: healthy", "pause", "die", "destroy",
    ]  # fmt: skip
    assert events[4]["attributes"] == {"exitCode": "137", "image": "i", "name": "shop-web-1"}
    thread.join(10)
    assert result == [0]
