"""Random kills of our processes, at some point in any command, COMPOSER_KILLS times (20).

Each round ends with what a user would do next, `up` or `down -v`, and checks that this repaired everything. `make
kill-storm` runs 200 rounds. A failed round does not stop the others; all failures are shown together."""

import json
import os
import random
import subprocess
import time

import pytest

from tests.fault.test_kill import check
from tests.fault.victims import kill
from tests.scenario.leaks import Observed

ROUNDS = int(os.environ.get("COMPOSER_KILLS", "20"))
SEED = int(os.environ.get("COMPOSER_KILLS_SEED", "0"))
COMMANDS = (
    ("up", "-d"),
    ("up", "-d", "--force-recreate"),
    ("down", "-t", "1"),
    ("down", "-v", "-t", "1"),
    ("restart", "-t", "1"),
    ("build", "--no-cache"),
    ("run", "--rm", "-T", "worker", "sleep", "0.3"),
    ("exec", "-T", "db", "sleep", "0.3"),
    ("-f", "compose.yaml", "-f", "joined.yaml", "up", "-d"),
    ("scale", "worker=5"),
    ("create", "--force-recreate"),
    ("rm", "-sf"),
)
VICTIMS = (
    ("command",),
    ("forks",),
    ("supervisor",),
    ("keeper",),
    ("supervisor", "keeper"),
    ("keeper", "supervisor"),
    ("command", "supervisor", "keeper"),
)
LATEST = 0.8
"""The latest time of a kill in seconds: about the duration of the longest command."""
JOINED = {
    "services": {
        "db": {"networks": ["front"]},
        "web": {"networks": {"front": {"aliases": ["site"]}, "more": {}}},
        "worker": {"networks": ["more"]},
    },
    "networks": {"more": {}},
}
"""What changes only networks: a running container joins and leaves them."""
BUILT = {
    "build": {
        "dockerfile_inline": "FROM busybox\nRUN sleep 0.1; echo 1 > /1\nRUN sleep 0.1; echo 2 > /2\nCOPY . /here"
    },
    "profiles": ["built"],
}


def begun(composer, words):
    """Start the command, kill a process meanwhile, and wait for the command to exit; returns a description."""
    command = composer.start(*words)
    # No wait for an event: this chooses the time of the kill.
    time.sleep(composer.chance.uniform(0, LATEST))
    victims = composer.chance.choice(VICTIMS)
    killed = [victim for victim in victims if kill(composer, victim, command)]
    said = command.communicate(timeout=60)[0]
    return f"{' '.join(words)}, killed {killed}, ended with {command.returncode}: {said[-400:]}"


def mended(composer, before):
    """Do what a user would do next; it must repair everything."""
    if composer.chance.random() < 0.5:
        composer("up", "-d")
        check(composer)
    else:
        composer("down", "-v", "-t", "1")
        left = before.leaks(composer.roots)
        if left:
            before.clean(composer.roots)
        assert not left, "left behind:\n" + "\n".join(left)


@pytest.mark.timeout(0)
def test_kills_at_random(composer, capsys):
    file = composer.folder / "built.yaml"
    file.write_text(json.dumps({"services": {"built": BUILT}}))
    (composer.folder / "joined.yaml").write_text(json.dumps(JOINED))
    composer.environ["COMPOSE_FILE"] = "compose.yaml:built.yaml"
    composer.chance = random.Random(SEED)
    before = Observed.now(composer.roots)
    bad = []
    for number in range(ROUNDS):
        words = composer.chance.choice(COMMANDS)
        if words[0] in ("restart", "exec", "scale", "rm", "-f"):
            composer("up", "-d")
        if words[0] == "build":
            words = ("--profile", "built", *words)
        how = ""
        try:
            how = begun(composer, words)
            mended(composer, before)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            bad.append(f"round {number}: {how or words}\n{error}")
            with capsys.disabled():
                print(bad[-1])
            composer("down", "-v", "-t", "0", code=None)
    composer("--profile", "built", "down", "-v", "--rmi", "local", "-t", "0")
    assert not bad, f"{len(bad)} of {ROUNDS} rounds ended badly:\n" + "\n\n".join(bad)
