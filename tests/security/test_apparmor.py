"""AppArmor: containers run under our profile, or the requested one, however a process is started.

The machine must have AppArmor: VM_APPEND="apparmor=1 security=apparmor" scripts/vm-test tests/security/test_apparmor.py
"""

import os
import shutil
import subprocess

import pytest

from engine.container import apparmor
from engine.errors import StartFailed, Unsupported
from engine.paths import Roots
from engine.spec.container import ContainerSpec
from engine.spec.image import BuildSpec

CONFINED = f"{apparmor.DEFAULT} (enforce)"
LABEL = "cat /proc/self/attr/current"
OTHER = (
    "profile composer-test-other flags=(attach_disconnected) { file, network, capability, deny /etc/passwd r, signal, }"
)

with_apparmor = pytest.mark.skipif(not apparmor.enabled(), reason="this machine has no AppArmor")


@pytest.fixture(autouse=True)
def securityfs():
    if apparmor.enabled() and not os.path.exists("/sys/kernel/security/apparmor"):
        subprocess.run(["mount", "-t", "securityfs", "securityfs", "/sys/kernel/security"], check=True)


@pytest.mark.parametrize(
    ("options", "profile"),
    [
        ((), "ours"),
        (("apparmor=unconfined",), ""),
        (("apparmor:mine",), "mine"),
        (("apparmor=mine", "no-new-privileges:true"), "mine"),
        (("apparmor=a:b",), "a:b"),
    ],
)
def test_options(options, profile):
    assert apparmor.profile(ContainerSpec(name="c", image="i", security_opt=options), "ours") == profile
    assert apparmor.profile(ContainerSpec(name="c", image="i", security_opt=options, privileged=True), "ours") == ""


@pytest.mark.skipif(not shutil.which("apparmor_parser"), reason="needs apparmor_parser")
def test_the_profile_is_one(tmp_path):
    """The parser accepts it, for a kernel with the features that it uses."""
    path = tmp_path / "profile"
    path.write_text(apparmor.profile_text())
    command = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--Werror"]
    subprocess.run([*command, "--features-file", "/etc/apparmor.d/abi/3.0", path], check=True)


@pytest.mark.skipif(apparmor.enabled(), reason="this machine has AppArmor")
def test_without_apparmor(host):
    with pytest.raises(Unsupported, match="this host has no AppArmor to apply mine"):
        host.create("true", security_opt=("apparmor=mine",))
    assert host.run("true", security_opt=("apparmor=unconfined",)).code == 0
    assert host.session.left_out(ContainerSpec(name="c", image="i")) == []


@with_apparmor
def test_a_profile_that_is_not_loaded(host):
    with pytest.raises(StartFailed, match="confine by the AppArmor profile no-such-profile: ENOENT"):
        host.run("true", security_opt=("apparmor=no-such-profile",))


@with_apparmor
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"init": True},
        {"user": "1000"},
        {"tty": True},
        {"security_opt": ("no-new-privileges:true",)},
        {"userns_mode": "private"},
        {"network_mode": "host"},
        {"cap_add": ("ALL",)},
    ],
    ids=str,
)
def test_every_process_is_confined(host, spec):
    """The processes of a service and a one-off container, and those of exec, hooks and health probes."""
    assert host.shell(LABEL, **spec).out.strip() == CONFINED
    running = host.start("sleep", "1000", **{"init": False, **spec})
    assert host.exec(running, "sh", "-c", LABEL).out.strip() == CONFINED
    assert host.exec(running, "sh", "-c", LABEL, privileged=True).out.strip() == CONFINED
    probe = host.wait(host.session.probe(running.id, ("CMD-SHELL", LABEL), timeout=60))
    assert probe.output.strip() == CONFINED


@with_apparmor
def test_a_build_step_is_confined(host, tmp_path):
    (tmp_path / "Dockerfile").write_text(f'FROM busybox\nRUN [ "$({LABEL})" = "{CONFINED}" ]\n')
    host.engine.build(BuildSpec(context=str(tmp_path), dockerfile="Dockerfile"))


@with_apparmor
def test_requested_profile_is_applied(host, tmp_path):
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache"], input=OTHER, text=True, check=True)
    other = {"security_opt": ("apparmor=composer-test-other",)}
    assert host.shell(LABEL, **other).out.strip() == "composer-test-other (enforce)"
    assert host.shell("cat /etc/passwd", **other).code == 1
    assert host.shell(LABEL, security_opt=("apparmor=unconfined",)).out.strip() == "unconfined"
    assert host.shell(LABEL, privileged=True).out.strip() == "unconfined"


@with_apparmor
@pytest.mark.parametrize(
    "attack",
    [
        "mount -t tmpfs none /mnt",
        "mount -o bind /etc /mnt",
        "mount -o remount,rw /proc/sys",
        "echo core > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo b > /proc/sysrq-trigger",
        "echo 0 > /proc/irq/default_smp_affinity",
        "echo x > /sys/kernel/uevent_helper",
        "cat /sys/kernel/security/apparmor/profiles",
        "head -c 1 /proc/kcore",
        "echo changeprofile unconfined > /proc/self/attr/current",
        "echo exec unconfined > /proc/self/attr/exec",
    ],
)
def test_profile_holds_without_other_protection(host, attack):
    """All capabilities, no filter, nothing masked: only the profile protects the machine."""
    open_ = {"cap_add": ("ALL",), "security_opt": ("seccomp=unconfined", "systempaths=unconfined")}
    assert host.shell(f"mkdir -p /mnt; {attack}", **open_).code != 0


@with_apparmor
def test_ordinary_programs_are_allowed(host):
    """Signals, their own /proc, files, sockets; and signals from outside."""
    script = """set -e
sleep 100 & kill $!; wait $! || true
echo 5 > /proc/self/oom_score_adj; cat /proc/1/status /proc/self/environ > /dev/null
mkdir /d; chmod 700 /d; chown 1:1 /d; ln -s /d /e; mv /d /f; rm -r /f
httpd -p 80 -h /; wget -q -O - http://127.0.0.1/etc/passwd | grep root"""
    result = host.shell(script)
    assert result.code == 0, result
    running = host.sleep()
    host.wait(host.session.stop(running.id, timeout=60, signal="SIGKILL"))
    assert host.end_of(running).exit_code == 137


@with_apparmor
def test_a_machine_without_a_parser_is_warned_once(tmp_path, monkeypatch):
    monkeypatch.setattr(apparmor, "_PARSER", (str(tmp_path / "none"),))
    default = apparmor.Default(Roots(str(tmp_path / "state"), str(tmp_path / "run")))
    assert default.name == ""
    (warning,) = default.warnings()
    assert warning.startswith(
        "containers run without an AppArmor profile: load the AppArmor profile composer-default: "
    )
    assert warning.endswith("Install it: apt install apparmor")
    assert default.warnings() == []
