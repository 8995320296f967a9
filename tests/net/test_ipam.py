import ipaddress
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Conflict, InvalidSpec, PoolExhausted, PortInUse
from engine.net import ipam, ports
from engine.spec.container import PortBinding
from engine.spec.network import NetworkRecord, NetworkSpec, Pool


def choose(store, **fields):
    return ipam.Subnets(store.db).choose(NetworkSpec(name=fields.pop("name", "n"), **fields))


def make(store, name="n", **fields):
    """A network in the database only."""
    spec = NetworkSpec(name=name, **fields)
    with store.transaction() as db:
        record = NetworkRecord(id=f"{name}.".ljust(64, "0"), spec=spec, pools=ipam.Subnets(db).choose(spec))
        db.execute("INSERT INTO networks VALUES (?, ?, ?, '')", (name, record.id, name))
        db.executemany("INSERT INTO subnets VALUES (?, ?)", [(pool.subnet, name) for pool in record.pools])
    return record


def lease(store, record, owner, **asked):
    with store.transaction() as db:
        return {version: address for version, (address, _) in ipam.lease(db, record, owner, **asked).items()}


def test_default_pools_in_dockers_order(store):
    assert [make(store, name).pools[0].subnet for name in "ab"] == ["172.17.0.0/24", "172.17.1.0/24"]


def test_a_thousand_networks(store):
    found = {make(store, f"n{number}").pools[0].subnet for number in range(1000)}
    assert len(found) == 1000 and "172.20.231.0/24" in found


def test_the_pools_end(store, monkeypatch):
    monkeypatch.setitem(ipam._POOLS, 4, (("10.9.0.0", "10.9.1.255"),))
    assert [make(store, name).pools[0].subnet for name in "ab"] == ["10.9.0.0/24", "10.9.1.0/24"]
    with pytest.raises(PoolExhausted, match="all of the default address pools are in use"):
        make(store, "last")


def test_the_hosts_routes_are_avoided(store):
    subprocess.run("ip link add outside type bridge; ip addr add 172.17.0.1/23 dev outside; ip link set outside up;"
                   "ip route add 172.17.2.0/24 dev outside table 52; ip route add default via 172.17.0.9;"
                   "ip route add 0.0.0.0/1 via 172.17.0.9; ip route add 128.0.0.0/1 via 172.17.0.9",
                   shell=True, check=True)  # fmt: skip
    assert choose(store)[0].subnet == "172.17.3.0/24"


def test_a_size_without_an_address(store):
    make(store, "first")
    asked = Pool(subnet="0.0.0.0/28"), Pool(subnet="::/80"), Pool(subnet="0.0.0.0/20")
    four, six, large = choose(store, enable_ipv6=True, pools=asked)
    assert four == Pool(subnet="172.17.1.0/28", gateway="172.17.1.1") and large.subnet == "172.17.16.0/20"
    assert ipaddress.ip_network(six.subnet).prefixlen == 80


def test_smallest_subnets(store):
    record = make(store, pools=(Pool(subnet="10.1.0.0/31"),))
    assert record.pools[0].gateway == "10.1.0.0" and lease(store, record, "a")[4] == "10.1.0.1"


@pytest.mark.parametrize(
    ("pool", "gateway"),
    [
        (Pool(subnet="10.1.0.0/24", ip_range="10.1.0.128/25"), "10.1.0.128"),
        (Pool(subnet="10.1.0.0/24", ip_range="10.1.0.0/25"), "10.1.0.1"),
        (Pool(subnet="10.1.0.0/24", aux_addresses={"a": "10.1.0.1"}), "10.1.0.2"),
    ],
)
def test_the_gateway_is_the_first_of_the_range(store, pool, gateway):
    assert choose(store, pools=(pool,))[0].gateway == gateway


def test_reserved_addresses_are_avoided(store):
    record = make(store, pools=(Pool(subnet="10.1.0.0/24"),))
    assert lease(store, record, "a", avoid=("10.1.0.2", "10.1.0.4"))[4] == "10.1.0.3"
    assert lease(store, record, "b", avoid=("10.1.0.2", "10.1.0.4"))[4] == "10.1.0.5"


def test_an_overlap_names_both(store):
    make(store, "one", pools=(Pool(subnet="10.1.0.0/16"),))
    with pytest.raises(
        PoolExhausted, match=r"network two: subnet 10\.1\.2\.0/24 overlaps 10\.1\.0\.0/16 of network one"
    ):
        make(store, "two", pools=(Pool(subnet="10.1.2.0/24"),))


def test_a_networks_own_subnets_must_not_overlap(store):
    with pytest.raises(PoolExhausted, match="overlaps"):
        choose(store, pools=(Pool(subnet="10.1.0.0/16"), Pool(subnet="10.1.0.0/24")))


@pytest.mark.parametrize(
    ("pool", "complaint"),
    [
        (Pool(subnet="10.1.0.0/33"), "'10.1.0.0/33' is not a valid subnet"),
        (Pool(subnet="10.1.0.0/24", gateway="10.2.0.1"), "gateway 10.2.0.1 is not in the subnet 10.1.0.0/24"),
        (Pool(subnet="10.1.0.0/24", gateway="x"), "'x' is not a valid address"),
        (Pool(subnet="10.1.0.0/24", ip_range="10.0.0.0/8"), "ip_range 10.0.0.0/8 is not in the subnet"),
        (Pool(subnet="10.1.0.0/24", ip_range="fd00::/64"), "ip_range fd00::/64 is not in the subnet"),
        (Pool(subnet="10.1.0.0/24", aux_addresses={"r": "10.9.0.1"}), "aux_addresses.r 10.9.0.1 is not in"),
        (Pool(subnet="10.1.0.0/32"), "is too small"),
    ],
)
def test_wrong_pools(store, pool, complaint):
    with pytest.raises(InvalidSpec, match=complaint):
        choose(store, pools=(pool,))


def test_a_subnet_with_host_bits_is_taken_as_its_network(store):
    assert choose(store, pools=(Pool(subnet="10.1.2.3/24"),))[0] == Pool(subnet="10.1.2.0/24", gateway="10.1.2.1")


def test_ipv6_is_unique_local_and_always_the_same(store):
    first = choose(store, enable_ipv6=True)[1]
    assert ipaddress.ip_network(first.subnet).subnet_of(ipaddress.ip_network("fd00::/8"))
    assert choose(store, enable_ipv6=True)[1] == first
    assert choose(store, enable_ipv6=True, name="other")[1] != first


def test_an_ipv6_subnet_without_ipv6_plays_no_part(store):
    assert [pool.subnet for pool in choose(store, pools=(Pool(subnet="fd00::/64"),))] == ["172.17.0.0/24"]


def test_lease_is_lowest_free_and_stable(store):
    record = make(store, pools=(Pool(subnet="10.1.0.0/24", aux_addresses={"printer": "10.1.0.3"}),))
    assert [lease(store, record, owner)[4] for owner in "abab"] == ["10.1.0.2", "10.1.0.4", "10.1.0.2", "10.1.0.4"]
    ipam.release(store, "a")
    assert lease(store, record, "c")[4] == "10.1.0.2"


def test_a_range_and_its_end(store):
    record = make(store, pools=(Pool(subnet="10.1.0.0/24", ip_range="10.1.0.252/30"),))
    assert [lease(store, record, owner)[4] for owner in "ab"] == ["10.1.0.253", "10.1.0.254"]
    with pytest.raises(PoolExhausted, match=r"no free addresses left in 10\.1\.0\.252/30"):
        lease(store, record, "d")
    assert lease(store, record, "d", v4="10.1.0.9")[4] == "10.1.0.9"


@pytest.mark.parametrize(
    ("asked", "error", "complaint"),
    [
        ({"v4": "10.1.0.2"}, Conflict, "already in use by container first"),
        ({"v4": "10.1.0.1"}, Conflict, "is reserved"),
        ({"v4": "10.1.0.9"}, Conflict, "auxiliary"),
        ({"v4": "10.1.0.0"}, Conflict, "reserved"),
        ({"v4": "10.1.0.255"}, Conflict, "reserved"),
        ({"v4": "10.2.0.5"}, InvalidSpec, "in none of its subnets"),
        ({"v6": "fd00::5"}, InvalidSpec, "in none of its subnets"),
        ({"v4": "ten"}, InvalidSpec, "'ten' is not a valid address"),
    ],
)
def test_a_fixed_address_refused(store, asked, error, complaint):
    record = make(store, pools=(Pool(subnet="10.1.0.0/24", aux_addresses={"x": "10.1.0.9"}),))
    lease(store, record, "first")
    with pytest.raises(error, match=complaint):
        lease(store, record, "second", **asked)
    assert len(store.db.execute("SELECT * FROM addresses").fetchall()) == 1


def test_leases_of_both_ip_versions(store):
    record = make(store, enable_ipv6=True, pools=(Pool(subnet="10.1.0.0/24"), Pool(subnet="fd00:1::/64")))
    assert lease(store, record, "a") == {4: "10.1.0.2", 6: "fd00:1::2"}
    assert lease(store, record, "b", v6="fd00:1::99") == {4: "10.1.0.3", 6: "fd00:1::99"}


@given(taken=st.sets(st.integers(0, 2**32 - 1), max_size=6), prefix=st.integers(8, 30))
def test_a_free_pool_overlaps_nothing(taken, prefix):
    networks = [ipaddress.ip_network((number, prefix), strict=False) for number in taken]
    try:
        found = ipam._first_free(sorted(map(ipam._span, networks)), "n", 4, 0)
    except PoolExhausted:
        return
    assert not any(found.overlaps(network) for network in networks)


def test_a_taken_address_names_its_container(store):
    network = make(store, pools=(Pool(subnet="10.1.0.0/24"),))
    store.db.execute("INSERT INTO containers VALUES (?, 'web-1', 'g', '')", ("f" * 64,))
    lease(store, network, "f" * 64, v4="10.1.0.5")
    with pytest.raises(Conflict, match=r"10\.1\.0\.5 is already in use by container web-1"):
        lease(store, network, "e" * 64, v4="10.1.0.5")


def test_a_port_that_the_container_has_twice(store):
    twice = [
        PortBinding(container_port=port, protocol="tcp", host_ip="127.0.0.1", host_port="40999") for port in (80, 81)
    ]
    with pytest.raises(PortInUse, match="published by the same container, for its port 80"):
        ports.reserve(store, "c" * 64, twice)
    assert not store.db.execute("SELECT * FROM ports").fetchall()
