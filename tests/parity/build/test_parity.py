"""Composer's builder compared with BuildKit's: the same status, configuration, history, number of layers and tree.

The answers of BuildKit (Docker Engine 28.5) are recorded. With PARITY_DOCKER_HOST, the engine is asked again.
"""

import os
from pathlib import Path

import pytest

from engine.build.container_run import ContainerRun
from tests.parity.build import case as cases
from tests.parity.build import generate
from tests.parity.build.builders import Composer, Docker
from tests.parity.build.record import HERE, difference, known, prepared

pytestmark = pytest.mark.root
OWN = cases.read(HERE / "cases.txt")
RANDOM = generate.cases()
ANSWERS = known()
NAMED = {
    "random-108": "a dangling link",
    "random-151": "a dangling link",
    "random-189": "a dangling link",
    "from-context": "`FROM` a directory adds one line of history",
    "heredoc-slash-in-name": "a here-document whose name has a slash",
}
"""Intended differences, and their description in docs/dockerfile.md ("Differences from BuildKit")."""


@pytest.fixture(scope="module")
def composer(tmp_path_factory):
    runs = []

    def run_for(roots):
        runs.append(ContainerRun(roots))
        return runs[0]

    found = Composer(tmp_path_factory.mktemp("parity"), run_for)
    yield found
    runs[0].close()
    found.close()


@pytest.fixture(scope="module")
def docker():
    host = os.environ.get("PARITY_DOCKER_HOST")
    return Docker(host) if host else None


@pytest.mark.parametrize("case", [*OWN, *RANDOM], ids=lambda case: case.name)
def test_image_equals_buildkit(composer, docker, case, tmp_path):
    context = prepared(case, tmp_path)
    theirs = docker(case, context) if docker else ANSWERS[case.name]
    ours = composer(case, context)
    found = difference(ours, theirs)
    if case.name in NAMED:
        assert found, "it does not differ any more"
        assert NAMED[case.name] in (HERE.parents[2] / "docs/dockerfile.md").read_text()
    else:
        assert not found, "\n".join([*found, composer.message])


def test_every_case_has_an_answer_and_every_answer_a_case():
    names = [case.name for case in (*OWN, *RANDOM)]
    assert len(set(names)) == len(names) >= 400
    assert set(names) == ANSWERS.keys()
    assert Path(HERE / "answers.json").stat().st_size < 1 << 19
