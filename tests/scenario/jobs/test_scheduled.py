"""Jobs with a schedule, from `up` to `down`, and the commands of `composer job`."""

import json

import pytest

from composer.run.jobs.journal import Journal
from tests.fault.victims import kill

FILE = """
services:
  db: {image: busybox, command: [sleep, "1000"], init: true}
jobs:
  tick:
    image: busybox
    command: [sh, -c, "echo out; echo err >&2; exit $${CODE:-0}"]
    environment: {CODE: "${CODE:-0}"}
    depends_on: [db]
    triggers: {schedule: [{cron: "0 3 1 jan *", timezone: Europe/Paris}]}
  long:
    image: busybox
    init: true
    command: [sh, -c, "echo begun; exec sleep 1000"]
    x-composer: {timeout: "${TIMEOUT:-1h}"}
    triggers: {manual: true}
"""


@pytest.fixture
def project(composer):
    return composer.write(compose=FILE)


def listed(project, *words):
    lines = project("job", "ls", "--format", "json", *words).out.splitlines()
    return {row["Name"]: row for row in map(json.loads, lines)}


def runs(project, job):
    lines = project("job", "runs", "--format", "json", job).out.splitlines()
    return [(row["State"], row["Exit"], row["Trigger"]) for row in map(json.loads, lines)]


def test_life_of_a_schedule(project):
    assert listed(project)["tick"]["State"] == "unregistered"
    assert "Job tick Created" in project("up", "-d").err
    assert not [line for line in project("up", "-d").err.splitlines() if "Job" in line]
    (fire,) = {listed(project)["tick"]["NextFire"]}
    assert "-01-01 0" in fire or "-01-01 1" in fire
    inspected = json.loads(project("job", "inspect", "tick").out)[0]
    assert [one[4:] for one in inspected["NextFires"]] == ["-01-01T02:00:00Z"] * 5
    assert "Job tick Created" in project("up", "-d", environ={"CODE": "3"}).err  # a changed job is replaced
    assert "Job tick Stopped" in project("stop", "-t", "0").err
    assert listed(project)["tick"]["State"] == "stopped"
    assert "Job tick Started" in project("start").err
    project.write(compose=FILE.replace("  tick:", "  tock:"))
    changed = project("up", "-d").err
    assert "Job tick Removed" in changed and "Job tock Created" in changed
    assert "Job tock Removed" in project("down", "-t", "0").err
    assert listed(project)["tock"]["State"] == "unregistered"


def test_runs_and_their_logs(project):
    project("up", "-d")
    run = project("job", "run", "tick").out.strip()
    assert project("job", "wait", "tick", run[:8]).out == "0\n"
    project("up", "-d", environ={"CODE": "3"})
    assert project("job", "run", "--wait", "tick", code=3)
    done = project("job", "logs", "tick", "1")
    assert (done.out, done.err) == ("out\n", "err\n")
    assert runs(project, "tick") == [("failed", "3", "manual"), ("succeeded", "0", "manual")]
    assert project("ps", "-a", "--format", "{{.Service}} {{.State}}").out == "tick exited\ndb running\n"
    project("down", "-t", "0")
    assert (
        len(runs(project, "tick")) == 2 and project("job", "logs", "-n", "1", "tick").out + done.err == "err\n" * 1 + ""
    )


def test_a_run_by_hand_is_recorded(project):
    assert project("run", "tick", code=0).out == "out\n"
    assert project("run", "-e", "CODE=5", "tick", code=5).out == "out\n"
    assert runs(project, "tick") == [("failed", "5", "manual"), ("succeeded", "0", "manual")]
    following = project.start("run", "long")
    assert following.stdout.readline() and project("job", "logs", "long", code=None)
    while "begun" not in following.stdout.readline():
        pass
    assert f"job {project.name}.long is already running" in project("run", "long", code=1).err
    assert project("job", "cancel", "long").out
    following.communicate(timeout=30)
    assert following.returncode == 130 and runs(project, "long") == [("cancelled", "143", "manual")]
    assert project("run", "long", code=124, environ={"TIMEOUT": "300ms"}).out == "begun\n"


def test_followed_to_its_end(project):
    project("job", "run", "long")
    following = project.start("job", "logs", "-f", "long")
    assert following.stdout.readline() == "begun\n"
    project("job", "cancel", "long")
    assert following.wait(30) == 0


def test_pause_resume_rm_and_prune(project):
    project("up", "-d")
    project("job", "pause", "tick")
    assert listed(project)["tick"]["Paused"] == "true" and listed(project)["tick"]["NextFire"] == "-"
    project("job", "resume", "tick")
    assert listed(project)["tick"]["NextFire"] != "-"
    project("job", "run", "long")
    assert "is running" in project("job", "rm", "long", code=1).err
    project("job", "rm", "-f", "long", "tick")
    assert runs(project, "long") == [("cancelled", "143", "manual")]
    project("job", "rm", "--runs", "remove", "long")
    assert "has not been run" in project("job", "logs", "long", code=1).err
    assert "no such job: nope" in project("job", "cancel", "nope", code=1).err
    project("run", "tick")
    assert project("job", "prune", "-f").out == ""


def test_schedule_restarts_killed_supervisor(composer):
    """Nothing is running; a fire that was due meanwhile happens once."""
    composer.write(
        compose="""
        jobs: {tick: {image: busybox, command: echo tick, network_mode: none, triggers: {schedule: ["0 0 1 1 *"]}}}
        """
    )
    composer("up", "-d")
    journal = Journal(composer.roots, composer.name)
    progress = journal.progress("tick")
    (key,) = progress.decided
    text = f"{journal.folder}/tick.job/progress.json"
    with open(text) as file:
        content = json.load(file)
    content["decided"][key] -= 400 * 86400
    with open(text, "w") as file:
        json.dump(content, file)
    kill(composer, "supervisor")
    while not (found := journal.progress("tick").runs) or not found[-1].state.final:
        pass
    kill(composer, "supervisor")
    assert runs(composer, "tick") == [("succeeded", "0", "schedule")]
    assert composer("job", "logs", "tick").out == "tick\n"


def test_a_service_depends_on_a_job(composer):
    composer.write(
        compose="""
        services:
          db: {image: busybox, command: [sleep, "1000"], init: true}
          web: {image: busybox, command: [sleep, "1000"], init: true, depends_on: [migrate]}
        jobs:
          migrate:
            image: busybox
            command: [sh, -c, 'echo migrated; exit "$$CODE"']
            environment: {CODE: "${CODE:-0}"}
            depends_on: [db]
            triggers: {manual: true}
        """
    )
    failed = composer("up", "-d", "web", code=1, environ={"CODE": "4"})
    assert 'job "migrate" didn\'t complete successfully: exit 4\n  migrated' in failed.err
    assert "running" not in [one["State"] for one in composer.ps("-a").get("web", [])]
    composer("up", "-d", "web")
    composer("up", "-d", "web")
    assert {"web", "db"} <= composer.ps().keys()
    assert runs(composer, "migrate") == [("succeeded", "0", "dependency"), ("failed", "4", "dependency")]
