"""Hostile Dockerfiles: what a build runs or copies stays in the build."""

import os
import re

import pytest

from engine.errors import BuildFailed, EngineError, Unsupported
from engine.spec.image import BuildSecret
from tests.build.conftest import Builder, builder, busybox, context, images, run

__all__ = ["builder", "busybox", "context", "images", "run"]


@pytest.fixture
def hostile(builder: Builder, busybox, run):
    builder.run = run
    return builder


@pytest.fixture
def victim(tmp_path):
    """A folder of the host with an empty file and an empty folder, like stubs of mounts."""
    folder = tmp_path / "victim"
    (folder / "folder").mkdir(parents=True)
    (folder / "file").touch()
    (folder / "text").write_text("of the host")
    return folder


def said(builder):
    return "\n".join(line for line in builder.lines if re.match(r"#\d+ \d+\.\d{3} ", line))


def test_stubs_are_removed_only_from_the_image(hostile, victim):
    """CVE-2024-23652: a mount's target becomes a link to the host while the command runs; afterwards only what was
    created for the mount is removed."""
    script = f"cd /; mv /a /b; ln -s {victim} /a; true"
    for mount in ("type=tmpfs,target=/a/folder", "type=secret,id=s,target=/a/file"):
        secrets = (BuildSecret(id="s", file=str(victim / "text")),)
        hostile(f"FROM busybox\nRUN --mount={mount} {script}\n", secrets=secrets)
    assert sorted(os.listdir(victim)) == ["file", "folder", "text"]


def test_working_directory_stubs(hostile, victim):
    hostile(f"FROM busybox\nWORKDIR /w/folder\nRUN cd /; rm -rf /w; ln -s {victim} /w\n")
    assert sorted(os.listdir(victim)) == ["file", "folder", "text"]


def test_source_of_a_mount_is_looked_up_inside(hostile, victim):
    """CVE-2024-23651: source= of a mount leads by a link out of the stage, or the cache, that it is in."""
    base = f"FROM busybox AS base\nRUN ln -s {victim} /way; ln -s / /root-way\nFROM busybox\n"
    for mount in (
        "type=bind,from=base,source=/way,target=/m",
        "type=bind,from=base,source=/root-way{victim},target=/m",
        "type=cache,id={n},from=base,source=/way,target=/m",
        "type=bind,from=base,source=../../../../../..{victim},target=/m",
    ):
        text = mount.format(victim=victim, n=len(mount))
        try:
            hostile(f"{base}RUN --mount={text} find /m -type f -exec cat {{}} +\n")
        except EngineError:
            continue  # the stage has no such path
        assert "of the host" not in said(hostile)


def test_a_cache_that_was_changed_into_a_link(hostile, victim, images):
    """CVE-2024-23651: a cache's folder is swapped for a link by one build and mounted by the next."""
    hostile(f"FROM busybox\nRUN --mount=type=cache,id=c,target=/c rm -rf /c/* && ln -s {victim} /c/sub && echo 1\n")
    try:
        hostile(
            "FROM busybox\nRUN --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/sub/deep "
            "find /c/ -type f -exec cat {} + ; echo 2\n"
        )
    except EngineError:
        pass
    assert "of the host" not in said(hostile)
    assert sorted(os.listdir(victim)) == ["file", "folder", "text"]


def test_privileges_are_for_those_entitled(hostile):
    """CVE-2024-23653: RUN --security=insecure without the entitlement; with it, the step gets what it requested."""
    with pytest.raises(Unsupported, match=r"entitlement security\.insecure"):
        hostile("FROM busybox\nRUN --security=insecure id\n")
    hostile("FROM busybox\nRUN grep CapEff /proc/self/status; grep Seccomp: /proc/self/status\n")
    assert "00000000a80425fb" in said(hostile)
    assert "Seccomp:\t2" in said(hostile)
    hostile(
        "FROM busybox\nRUN --security=insecure grep CapEff /proc/self/status\n", entitlements=("security.insecure",)
    )
    assert "00000000a80425fb" not in said(hostile)


def test_the_network_of_the_host_is_for_those_entitled(hostile):
    """RUN --network=host reaches services of the host's loopback interface."""
    with pytest.raises(Unsupported, match=r"entitlement network\.host"):
        hostile("FROM busybox\nRUN --network=host true\n")
    for allowed in ({"entitlements": ("network.host",)}, {"network": "host"}):
        hostile("FROM busybox\nRUN --network=host readlink /proc/self/ns/net\n", no_cache=True, **allowed)
        assert os.readlink("/proc/self/ns/net") in said(hostile)


def test_working_directory_by_descriptor(hostile, victim):
    """CVE-2024-21626 by WORKDIR."""
    for number in range(3, 10):
        with pytest.raises(BuildFailed, match="working directory"):
            hostile(f"FROM busybox\nWORKDIR /proc/self/fd/{number}\nRUN cat ../../../../../../..{victim}/text\n")


def test_onbuild_and_from_see_no_more(hostile, victim):
    with pytest.raises(EngineError):
        hostile(f"FROM busybox AS one\nRUN ln -s {victim} /l\nFROM busybox\nCOPY --from=one /l/text /\n")


def test_run_is_masked(hostile):
    script = "mount -t tmpfs none /tmp && echo mounted; echo > /proc/sys/kernel/panic; true"
    hostile(f"FROM busybox\nRUN {script}\n")
    assert "mounted" not in said(hostile)
    assert "Read-only" in said(hostile)


def test_secrets_stay_out_of_the_image(hostile, busybox, tmp_path):
    (tmp_path / "s").write_text("very secret")
    secret = BuildSecret(id="s", file=str(tmp_path / "s"))
    record = hostile("FROM busybox\nRUN --mount=type=secret,id=s cat /run/secrets/s | wc -c\n", secrets=(secret,))
    assert "very secret" not in str(hostile.tree(record)) + str(record)
