"""--dry-run changes nothing, whatever the command."""

import pytest


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("exec", "-T", "web", "touch", "/touched"), 1, "interactive exec is not supported in dry-run mode"),
        (("exec", "-d", "web", "touch", "/touched"), 0, ""),
        (("attach", "web"), 1, "interactive run is not supported in dry-run mode"),
        (("rm", "-sf"), 0, "-web-1 Removed"),
        (("env", "set", "A=b"), 0, ""),
        (("stop",), 0, "-web-1 Stopped"),
        (("kill",), 0, "-web-1 Killed"),
        (("down", "-v"), 0, "-web-1 Removed"),
    ],
)
def test_dry_run(composer, words, code, said):
    composer.write(compose="services: {web: {image: busybox, init: true, command: [sleep, '1000']}}\n")
    composer("up", "-d")
    assert said in composer("--dry-run", *words, code=code).err
    assert [one["State"] for one in composer.ps()["web"]] == ["running"]
    assert composer("exec", "-T", "web", "ls", "/touched", code=1)
    assert not (composer.folder / ".env").exists()


def test_each_step_is_shown(composer):
    """As docker compose 5.5 shows them."""
    composer.write(
        compose="""\
            services:
              web: {image: busybox, init: true, command: [sleep, '1000'], depends_on: [db]}
              db: {image: busybox, init: true, command: [sleep, '1000']}
        """
    )

    def steps(*words):
        found = composer("--dry-run", *words).err.replace(f"{composer.name}", "p").splitlines()
        assert all(line.startswith(" DRY-RUN MODE -  ") for line in found)
        return [line.removeprefix(" DRY-RUN MODE -  ") for line in found]

    network = ["Network p_default Creating", "Network p_default Created"]
    database = [f"Container p-db-1 {word}" for word in ("Creating", "Created", "Starting", "Started")]
    assert steps("up", "-d", "db") == network + database
    found = steps("run", "--rm", "web", "true")
    assert found[:6] == network + database
    assert [line.rpartition(" ")[2] for line in found[6:]] == ["Creating", "Created"] and "p-web-run-" in found[6]
    composer("up", "-d", "db")
    assert steps("stop", "-t", "0") == ["Container p-db-1 Stopping", "Container p-db-1 Stopped"]
    assert steps("run", "--rm", "web", "true")[0] == "Container p-db-1 Running"
