"""Machines that lack something: one sentence names what is missing, the next what to do, and nothing is left behind."""

import json
import shlex
import subprocess

import pytest

from tests.scenario.command import Result

NEEDS = "composer runs as root without {}, which it needs\n"
PRIVILEGED = "To use composer in a container, start that container with docker run --privileged.\n"


@pytest.fixture
def restricted(composer):
    """Runs a command in a mount namespace that `arrange`, shell commands, restrict, through `prefix`."""

    def run(*words, arrange="", prefix="", code=1):
        script = f"set -e\n{arrange}\nexec {prefix} {shlex.join(composer.command(*words))}"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            cwd=composer.folder,
            env=composer.environ,
            capture_output=True,
            text=True,
            timeout=100,
        )
        done = Result(done.args, done.returncode, done.stdout, done.stderr)
        assert done.code == code, done
        assert "Traceback" not in done.err and "internal error" not in done.err, done
        return done

    return run


@pytest.mark.parametrize("missing", ["sys_admin", "net_admin"])
@pytest.mark.parametrize(
    "command", [("up", "-d"), ("run", "--rm", "web", "true"), ("build",)], ids=lambda words: words[0]
)
def test_a_capability_is_missing(restricted, composer, missing, command):
    if command == ("build",):
        composer.write(compose="services: {web: {build: .}}", Dockerfile="FROM scratch\nCOPY compose.yaml /\n")
    done = restricted(*command, prefix=f"setpriv --bounding-set -{missing} --inh-caps -{missing}")
    assert NEEDS.format(f"CAP_{missing.upper()}") + PRIVILEGED in done.err


def test_several_capabilities_are_missing(restricted):
    """As in a Docker container."""
    done = restricted(
        "up", "-d", prefix="setpriv --bounding-set -sys_admin,-net_admin --inh-caps -sys_admin,-net_admin"
    )
    assert done.err.endswith(NEEDS.format("CAP_NET_ADMIN and CAP_SYS_ADMIN") + PRIVILEGED)


CHROOTS = {
    # A folder that is a mount whose root is the machine's, and one that is not a mount.
    "mount": "mkdir new; mount --rbind / new; exec chroot new",
    "folder": """mkdir new; mount -t tmpfs new new; mkdir new/root; cd new/root
for name in /*; do
    if [ -L "$name" ]; then cp -P "$name" .; elif [ -d "$name" ]; then mkdir ".$name"; mount --rbind "$name" ".$name"; fi
done
exec chroot .""",
}


@pytest.mark.parametrize("kind", CHROOTS)
def test_a_chroot(restricted, composer, kind):
    """exec and probes enter a mount namespace, whose root is outside."""
    inside = shlex.join(["sh", "-c", f"cd {composer.folder} && exec {shlex.join(composer.command('up', '-d'))}"])
    done = restricted("version", arrange=f"{CHROOTS[kind]} {inside}")
    assert "composer runs in a chroot, and processes entering containers would run outside it\n" in done.err
    assert "pivot_root(8)" in done.err


def test_a_root_by_pivot_root(restricted, composer):
    arrange = "mkdir new; mount --rbind / new; mkdir -p new/old; cd new; pivot_root . old; umount -l /old; cd {}"
    restricted("up", "-d", arrange=arrange.format(composer.folder), code=0)
    composer("down")


def test_the_state_root_is_on_overlayfs(restricted, composer):
    """As in docker run --privileged without a volume for it."""
    arrange = f"""mkdir over; mount -t tmpfs over over; mkdir over/upper over/work
mount -t overlay -o lowerdir={composer.roots.state},upperdir=over/upper,workdir=over/work over {composer.roots.state}"""
    done = restricted("up", "-d", arrange=arrange)
    assert (
        f"the state root {composer.roots.state} is on overlayfs, which cannot hold the files of containers" in done.err
    )
    assert "COMPOSER_STATE_ROOT" in done.err


def test_sysctls_are_read_only(restricted):
    done = restricted("up", "-d", arrange="mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys")
    assert "EROFS: Read-only file system" in done.err
    assert done.err.endswith(PRIVILEGED)


def test_cgroups_are_read_only(restricted, composer):
    arrange = (
        "for place in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,bind,ro $place 2> /dev/null || true; done"
    )
    done = restricted("up", "-d", arrange=arrange)
    assert "create cgroup /sys/fs/cgroup" in done.err
    assert done.err.endswith(PRIVILEGED)
    composer("down")


def test_libseccomp_is_missing(restricted, composer):
    """Where the compiled programs are not in the cache yet."""
    arrange = f"""ldconfig -p | awk '/libseccomp/ {{ print $NF }}' | while read path; do mount --bind /dev/null $path; done
mkdir empty; mkdir -p {composer.roots.state}/cache; mount -t tmpfs empty {composer.roots.state}/cache"""
    done = restricted("up", "-d", arrange=arrange)
    assert "load libseccomp.so.2: " in done.err
    assert done.err.endswith("Install it: apt install libseccomp2\n")
    composer("down")


def test_other_mounts_than_the_supervisors(restricted, composer):
    """The supervisor would mount its own files: a command that sees others is refused, unless it uses none of them."""
    (composer.folder / "data").mkdir()
    plain = {"image": "busybox", "command": "sleep 600", "network_mode": "none", "stop_grace_period": "0s"}
    bound = {**plain, "volumes": ["./data:/data"]}
    deeper = {**plain, "volumes": ["./data/made/new:/data"]}
    composer.write(compose=json.dumps({"services": {"first": plain, "plain": plain, "bound": bound, "deeper": deeper}}))
    composer("up", "-d", "first")
    arrange = "mount -t tmpfs tmpfs data; mkdir data/made"
    for words in (("up", "-d", "bound"), ("run", "--rm", "-T", "bound", "true"), ("create", "deeper")):
        done = restricted(*words, arrange=arrange)
        assert " is not the same file for this command as for process " in done.err
        assert done.err.endswith("Run composer where the project was started, or run composer down there first.\n")
    restricted("up", "-d", "plain", arrange=arrange, code=0)
    restricted("exec", "-T", "plain", "true", arrange=arrange, code=0)
    restricted("up", "-d", "bound", code=0)
    restricted("down", "-t", "0", arrange=arrange, code=0)
    assert not list((composer.folder / "data").iterdir())
