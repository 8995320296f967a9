"""scripts/prepare installs what is missing, and nothing else; it waits for a running apt."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "prepare"


def test_present_packages_are_found(tmp_path):
    """`ldconfig -p | grep -q` was answered by the writer's SIGPIPE now and then: a pipe with two readings of its end."""
    have = re.search(r"^have\(\) \{.*?^\}", SCRIPT.read_text(), re.M | re.S)[0]
    script = f"set -euo pipefail\n{have}\nfor _ in {{1..100}}; do have libseccomp.so.2; have sh; ! have no.so.0; done"
    # A slow writer with much output, like ldconfig on a busy machine.
    slow = tmp_path / "ldconfig"
    slow.write_text("#!/bin/sh\necho libseccomp.so.2\nseq 20000\n")
    slow.chmod(0o755)
    script = script.replace("/sbin/ldconfig", str(slow))
    subprocess.run(["bash", "-c", script], check=True)


@pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt")
def test_prepare_waits_for_apt_lock(tmp_path):
    """The lock on the lists, for which apt-get itself has no timeout."""
    lists = tmp_path / "state" / "lists"
    (lists / "partial").mkdir(parents=True)
    (tmp_path / "cache" / "archives" / "partial").mkdir(parents=True)
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::State "{tmp_path}/state"; Dir::Cache "{tmp_path}/cache"; Dir::Etc::sourcelist "/dev/null";\n'
        f'Dir::Etc::sourceparts "/dev/null"; #clear APT::Update;\nAPT::Sandbox::User "root";\n'
    )
    apt = re.search(r"^apt\(\) \{.*?^\}", SCRIPT.read_text(), re.M | re.S)[0]
    with open(lists / "lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            ["bash", "-c", f"set -euo pipefail\n{apt}\napt update -qq; echo done"],
            env={**os.environ, "APT_CONFIG": str(config)},
            stdout=subprocess.PIPE,
            text=True,
        )
        with waiting:
            assert waiting.stdout.readline() == "waiting for another apt to finish\n"
            assert waiting.poll() is None
            fcntl.lockf(lock, fcntl.LOCK_UN)
            assert waiting.stdout.read() == "done\n"
        assert waiting.returncode == 0
