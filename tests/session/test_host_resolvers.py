"""Containers that have the host's resolvers follow the host's /etc/resolv.conf."""

import asyncio
import os
import subprocess

import pytest

from engine.net import dnsforward


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The file as a link into another folder, as systemd-resolved creates it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "run").mkdir()
    real = tmp_path / "run/stub.conf"
    real.write_text("nameserver 192.0.2.1\n")
    link = tmp_path / "etc/resolv.conf"
    link.symlink_to(real)
    monkeypatch.setattr(dnsforward, "RESOLV_CONF", str(link))
    return real


def write(path, text):
    """As most programs do: a new file in place of the old one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.rename(new, path)


def shows(box, record, text):
    """Wait until the container's file has the text."""

    async def wait():
        while text not in (found := await asyncio.to_thread(box.inside, record, "cat /etc/resolv.conf")):
            await asyncio.sleep(0.01)
        return found

    return box.do(asyncio.wait_for(wait(), 20))


def test_a_change_reaches_running_containers(box, host):
    ours = box.start(network_mode="host")
    joined = box.start(network_mode=f"container:{ours.id}")
    own = box.start(network_mode="host", dns=("192.0.2.53",))
    closed = box.start(network_mode="none")
    write(host, "nameserver 192.0.2.2\nsearch example.org\n")
    for record in (ours, joined, closed):
        assert shows(box, record, "192.0.2.2") == "nameserver 192.0.2.2\nsearch example.org"
    assert shows(box, own, "example.org") == "nameserver 192.0.2.53\nsearch example.org"
    host.write_text("nameserver 192.0.2.3\n")
    assert shows(box, ours, "192.0.2.3") == "nameserver 192.0.2.3"


def test_bind_mounted_resolv_conf_is_unchanged(box, host, tmp_path):
    """As in a container, whose engine writes into it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("nameserver 192.0.2.1\n")
    subprocess.run(["mount", "--bind", elsewhere, host], check=True)
    try:
        record = box.start(network_mode="host")
        elsewhere.write_text("nameserver 192.0.2.6\n")
        shows(box, record, "192.0.2.6")
    finally:
        subprocess.run(["umount", host], check=True)


def test_changed_link_target_is_followed(box, host):
    record = box.start(network_mode="host")
    link = host.parent.parent / "etc/resolv.conf"
    (host.parent / "other.conf").write_text("nameserver 192.0.2.4\n")
    link.unlink()
    link.symlink_to(host.parent / "other.conf")
    shows(box, record, "192.0.2.4")
    write(host.parent / "other.conf", "nameserver 192.0.2.5\n")
    shows(box, record, "192.0.2.5")


def test_edited_resolv_conf_is_kept(box, host):
    changed, ours = box.start(network_mode="host"), box.start(network_mode="host")
    box.inside(changed, "echo nameserver 192.0.2.9 > /etc/resolv.conf")
    write(host, "nameserver 192.0.2.2\n")
    shows(box, ours, "192.0.2.2")
    assert box.inside(changed, "cat /etc/resolv.conf") == "nameserver 192.0.2.9"


def test_a_supervisor_that_comes_later(box, host):
    record = box.start(network_mode="host")
    box.session._group.resolvers.leave(record.id)
    write(host, "nameserver 192.0.2.2\n")

    async def adopted():
        box.session._group.resolvers.follow(box.session.record(record.id))

    box.do(adopted())
    shows(box, record, "192.0.2.2")
    write(host, "nameserver 192.0.2.3\n")
    shows(box, record, "192.0.2.3")


def test_replaced_file(box, host):
    """A container must not make us write to a file of its choice."""
    record, ours = box.start(network_mode="host", privileged=True), box.start(network_mode="host")
    box.inside(record, "umount /etc/resolv.conf; rm -f /etc/resolv.conf; echo nameserver 192.0.2.1 > /tmp/f")
    box.inside(record, "ln -s /tmp/f /etc/resolv.conf")
    write(host, "nameserver 192.0.2.2\n")
    shows(box, ours, "192.0.2.2")
    assert box.inside(record, "cat /tmp/f") == "nameserver 192.0.2.1"


def test_nothing_is_watched_without_such_containers(box, host):
    record = box.start(network_mode="host")
    group = box.session._group
    assert group.resolvers._watching is not None
    box.do(box.session.remove(record.id, force=True))
    assert group.resolvers._watching is None
