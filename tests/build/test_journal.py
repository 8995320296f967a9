import json
import os

import pytest

from engine.build import journal
from engine.build.attest.facts import Facts
from engine.build.journal import Journal
from engine.errors import BuildFailed
from engine.paths import Roots
from engine.spec.build_record import new_ref
from engine.spec.image import BuildSpec, ImageRecord

FIRST = {"id": "1/1", "step": 1, "name": "[1/1] RUN x", "line": "#1 [1/1] RUN x", "seconds": 0}


@pytest.fixture
def roots(tmp_path):
    return Roots(str(tmp_path / "state"), str(tmp_path / "run"))


def record(roots, spec=None, *, status="done", error=None, sink=None):
    spec = spec or BuildSpec(context="/c", tags=("a",))
    try:
        with Journal(roots, spec, sink) as one:
            one.take({**FIRST, "status": "running"})
            one.take({**FIRST, "status": "output", "text": "hi", "line": "#1 0.1 hi"})
            one.take({**FIRST, "status": "warning", "text": "w", "line": "#1 WARN: w"})
            one.take({**FIRST, "status": status})
            facts = Facts(
                spec=spec, platform="linux/amd64", args={}, materials={}, context="", dockerfile="Dockerfile",
                dockerfile_text="FROM scratch", steps=[], layers=["sha256:1"], started=1, ended=2,
            )  # fmt: skip
            one.explain(facts)
            if error is not None:
                raise error
            one.image = ImageRecord(id="sha256:i")
    except (BuildFailed, KeyboardInterrupt):
        pass


def test_a_build_is_recorded(roots):
    seen = []
    ref = new_ref()
    record(roots, BuildSpec(context="/c", ref=ref, args={"A": "1"}), sink=seen.append)
    (found,) = journal.records(roots)
    assert (found.ref, found.context, found.args, found.image) == (ref, "/c", {"A": "1"}, "sha256:i")
    assert (found.steps, found.cached, found.completed, found.warnings, found.error) == (1, 0, 1, 1, "")
    predicate = json.loads(bytes(found.provenance["linux/amd64"]))
    assert predicate["buildType"] == "https://mobyproject.org/buildkit@v1"
    assert [one["status"] for one in journal.events(roots, ref)] == ["running", "output", "warning", "done"]
    assert len(seen) == 4
    assert {os.stat(f"{roots.history}/{name}").st_mode & 0o777 for name in os.listdir(roots.history)} == {0o600}
    journal.remove(roots, ref)
    assert os.listdir(roots.history) == []


def test_a_failure_is_recorded(roots):
    record(roots, status="error", error=BuildFailed("Dockerfile:1: bad"))
    record(roots, status="running", error=KeyboardInterrupt())
    assert [(one.error, one.completed, one.image) for one in journal.records(roots)] == [
        ("canceled", 0, ""),
        ("Dockerfile:1: bad", 0, ""),
    ]


def test_temporary_copies_have_the_names_of_the_user(roots):
    spec = BuildSpec(context="/tmp/x", dockerfile="/tmp/x.d", shown_as={"/tmp/x.d": "web.Dockerfile", "/tmp/x": ""})
    record(roots, spec)
    (found,) = journal.records(roots)
    assert (found.context, found.dockerfile) == ("", "web.Dockerfile")


def test_the_newest_are_kept(roots, monkeypatch):
    monkeypatch.setattr(journal, "KEPT", 2)
    refs = [new_ref() for _ in range(4)]
    for at, ref in enumerate(refs):
        record(roots, BuildSpec(context="/c", ref=ref))
        for suffix in (".json", ".log"):
            os.utime(f"{roots.history}/{ref}{suffix}", (at, at))
    record(roots, BuildSpec(context="/c", ref=new_ref()))
    assert [one.ref for one in journal.records(roots)][1:] == [refs[3]]
    assert len(os.listdir(roots.history)) == 4


def test_a_long_log_ends(roots, monkeypatch):
    monkeypatch.setattr(journal, "LOG_LIMIT", 200)
    ref = new_ref()
    record(roots, BuildSpec(context="/c", ref=ref))
    assert os.stat(f"{roots.history}/{ref}.log").st_size <= 200


def test_a_damaged_record_and_a_foreign_reference_are_no_builds(roots):
    ref = new_ref()
    record(roots, BuildSpec(context="/c", ref=ref))
    for number, content in enumerate((b"{", b'{"ref": 1}', b"\xff")):
        with open(f"{roots.history}/{new_ref()[:-1]}{number}.json", "wb") as file:
            file.write(content)
    assert [one.ref for one in journal.records(roots)] == [ref]
    outside = f"../../{ref}"
    assert list(journal.events(roots, outside)) == []
    journal.remove(roots, f"../history/{ref}")
    record(roots, BuildSpec(context="/c", ref="../../x"))
    assert len(journal.records(roots)) == 2


def test_a_build_succeeds_without_a_record(roots):
    os.makedirs(roots.cache)
    with open(roots.history, "w"):
        pass
    record(roots)
    assert os.path.getsize(roots.history) == 0
