"""A container's resource usage, as the kernel counts it."""

import pytest

from engine.errors import NotFound, WrongState
from engine.spec.container import Attachment, Resources
from engine.spec.network import NetworkSpec


def test_usage(box):
    box.do(box.session.create_network(NetworkSpec(name="tstats")))
    record = box.start(
        "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; touch /done; sleep 1000",
        resources=Resources(memory=64 << 20), networks=(Attachment(network="tstats"),),
    )  # fmt: skip
    box.inside(record, "while ! [ -e /done ]; do sleep 0.01; done; ping -c 1 -W 1 $(route -n | awk '/^0/{print $2}')")
    stats = box.engine.stats(box.group, record.id)
    assert stats.cpu > 1_000_000 and stats.read_at > 0
    assert 0 < stats.memory < stats.memory_limit == 64 << 20
    assert stats.pids == 1
    assert stats.received > 0 and stats.sent > 0


def test_without_a_limit_the_hosts_memory_counts(box):
    stats = box.engine.stats(box.group, box.start().id)
    with open("/proc/meminfo") as file:
        assert stats.memory_limit == int(file.readline().split()[1]) * 1024


def test_stopped_containers_have_no_stats(box):
    with pytest.raises(WrongState):
        box.engine.stats(box.group, box.create("true").id)
    with pytest.raises(NotFound):
        box.engine.stats(box.group, "0" * 64)
