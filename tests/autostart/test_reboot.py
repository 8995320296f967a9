"""A reboot as a project sees it: a new boot id, no processes, an empty run root, no kernel objects."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import time
import urllib.request
import uuid

import pytest
from msgspec import structs

from composer.run.jobs.journal import Journal
from tests.scenario.leaks import links, processes

BOOT_ID = "/proc/sys/kernel/random/boot_id"
MS_BIND = 0x1000


@pytest.fixture
def reboot(tmp_path, composer):
    """Call it with whether links, rules and cgroups disappear too, as in a real reboot; without them only the id
    changes."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = set(processes())
    mounted = []

    def reboot(*, bare=True):
        deadline = time.monotonic() + 10
        looks = 0
        while looks < 2:  # a supervisor that is just forking once more is in neither place while the list is read
            looks += 1
            for pid in set(processes()) - before - {os.getpid()}:  # again and again: a keeper starts another supervisor
                looks = 0
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            assert time.monotonic() < deadline
        shutil.rmtree(composer.roots.run)
        if bare:
            for link in links() - {"lo"}:
                subprocess.run(["ip", "link", "delete", link], check=False)
            for table in ("filter", "nat"):
                for what in ("-F", "-X"):
                    subprocess.run(["iptables", "-t", table, what], check=True)
        other = tmp_path / "boot_id"
        other.write_text(f"{uuid.uuid4()}\n")
        assert libc.mount(str(other).encode(), BOOT_ID.encode(), None, MS_BIND, None) == 0
        mounted.append(other)

    yield reboot
    composer("down", "-v", "-t", "0")
    for _ in mounted:
        libc.umount2(BOOT_ID.encode(), 2)


def running(composer):
    return {name for name, ones in composer.ps().items() if any(one["State"] == "running" for one in ones)}


@pytest.mark.parametrize("bare", [True, False], ids=["bare kernel", "leftovers in the kernel"])
def test_reboot_restarts_running_containers(composer, reboot, bare):
    composer("up", "-d")
    composer("stop", "stopped")
    reboot(bare=bare)
    assert not running(composer)
    status = composer("autostart", "status").out.splitlines()
    assert next(line.split() for line in status if line.startswith(composer.name)) == [composer.name, "none", "2"]
    composer("-p", composer.name, "autostart", "run")
    assert running(composer) == {"database", "web"}
    with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=5) as answer:
        assert answer.read() == b"hello\n"
    assert composer("exec", "-T", "web", "nslookup", "database").out.count("Address") >= 2
    assert composer("exec", "-T", "database", "cat", "/data/log").out == "migrated\n"  # it has already run
    assert composer("autostart", "run").err == ""  # there is nothing to do


def test_up_after_a_reboot(composer, reboot):
    composer("up", "-d", "web")
    reboot()
    composer("up", "-d")
    assert running(composer) == {"database", "web", "stopped", "once"}


def test_stopped_by_the_machine_is_not_stopped_by_the_user(composer):
    composer("up", "-d", "stopped", "database")
    composer("stop", "stopped")
    composer("autostart", "stop")
    assert not running(composer)
    composer("start", "migrate", code=None)
    composer("autostart", "run")
    assert "database" in running(composer)
    assert "stopped" not in running(composer)


def test_schedules_come_back_and_make_up_for_what_they_missed(composer, reboot):
    """A run that the reboot interrupted has failed; it is not restarted."""
    journal = Journal(composer.roots, composer.name)
    composer.write(
        compose="""
        jobs:
          tick:
            image: busybox
            init: true
            network_mode: none
            command: [sh, -c, "test -e /notes/begun && exit; touch /notes/begun; echo begun; exec sleep 1000"]
            volumes: ["notes:/notes"]
            triggers: {schedule: ["0 0 1 1 *"]}
        volumes: {notes: {}}
        """
    )
    composer("up", "-d")
    composer("job", "run", "tick")
    assert composer.start("job", "logs", "-f", "tick").stdout.readline() == "begun\n"
    reboot()
    progress = journal.progress("tick")
    earlier = {key: moment - 400 * 86400 for key, moment in progress.decided.items()}
    journal.save("tick", structs.replace(progress, decided=earlier))
    composer("autostart", "run")
    while "schedule" not in composer("job", "runs", "tick").out:
        pass
    assert composer("job", "wait", "tick").out == "0\n"
    first, second = journal.progress("tick").runs
    assert (first.state.value, first.error) == ("failed", "the machine was restarted while it ran")
    assert (second.state.value, second.trigger) == ("succeeded", "schedule")
    composer("autostart", "stop")
    assert not [word for pid, word in processes().items() if "supervise" in word and composer.name in word]
    assert composer("job", "ls", "-q").out == "tick\n"
