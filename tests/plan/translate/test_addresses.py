"""Invalid settings of networks and connections are refused at their position, before anything is created."""

import msgspec
import pytest

from composer.load.project import LoadOptions, load
from composer.plan.translate import translate

NET = "subnet: 10.1.0.0/24"


def translated(tmp_path, network, attachment="{}"):
    """The desired state of service `a` on network `n`; networks `m` and `k` belong to `b`."""
    file = tmp_path / "compose.yaml"
    file.write_text(
        f"services:\n  a: {{image: x, networks: {{n: {attachment}}}}}\n"
        "  b: {image: x, networks: [m, k]}\n"
        f"networks:\n  n: {network}\n"
        "  m: {ipam: {config: [{subnet: 10.9.0.0/24}]}}\n  k: {ipam: {config: [{subnet: 0.0.0.0/24}]}}\n"
    )
    return translate(load(LoadOptions(project_directory=str(tmp_path), files=(str(file),), environ={})))


def ipam(text):
    return f"{{ipam: {{config: [{{{text}}}]}}}}"


def option(name, value, more=""):
    return f"{{{more}driver_opts: {{{name}: {value}}}}}"


MTU = "com.docker.network.driver.mtu"


@pytest.mark.parametrize(
    ("network", "attachment", "words"),
    [
        (ipam(NET), "{ipv4_address: 10.1.0.1}", "2:32 10.1.0.1 is the address of the gateway"),
        (ipam(f"{NET}, gateway: 10.1.0.9"), "{ipv4_address: 10.1.0.9}", "the gateway"),
        (ipam(f"{NET}, ip_range: 10.1.0.64/26"), "{ipv4_address: 10.1.0.64}", "the gateway"),
        (ipam(f"{NET}, aux_addresses: {{q: 10.1.0.1}}"), "{ipv4_address: 10.1.0.2}", "the gateway"),
        (ipam(f"{NET}, aux_addresses: {{q: 10.1.0.5}}"), "{ipv4_address: 10.1.0.5}", "aux_addresses.q"),
        (ipam(NET), "{ipv4_address: 10.1.0.255}", "broadcast"),
        (ipam(NET), "{ipv4_address: 10.2.0.5}", "is not in the subnet of network n, 10.1.0.0/24"),
        ("{}", "{ipv4_address: 10.1.0.5}", "requires a subnet of its own: set networks.n.ipam.config"),
        (ipam(NET), '{ipv6_address: "fd00::5"}', "requires a subnet of its own"),
        (ipam("subnet: 10.1.0.1/32"), "{}", "5:24 10.1.0.1/32 is too small"),
        (ipam('subnet: "::ffff:10.1.0.0/120"').replace("{ipam", "{enable_ipv6: true, ipam"), "{}", "of IPv4 addresses"),
        ("{}", '{mac_address: "00:00:00:00:00:00"}', "is not a valid MAC address"),
        (ipam("subnet: 10.9.0.128/25"), "{}", "5:24 10.9.0.128/25 overlaps 10.9.0.0/24 of network m"),
        ("{enable_ipv4: false}", "{}", "5:7 IPv4 or IPv6 must be enabled"),
        (option(MTU, "foo"), "{}", "5:21 'foo' is not a number of bytes"),
        (option(MTU, "1000", "enable_ipv6: true, "), "{}", "at least 1280"),
        (option("foo", "bar"), "{}", "is not supported by the bridge driver"),
        (option("com.docker.network.bridge.enable_icc", "maybe"), "{}", "'maybe' is not true or false"),
        (option("com.docker.network.bridge.gateway_mode_ipv4", "isolated"), "{}", "internal"),
        (option("macvlan_mode", "odd", "driver: macvlan, "), "{}", "'odd' is not one of bridge, private"),
        (option("ipvlan_mode", "l2", "driver: macvlan, "), "{}", "supported: parent, macvlan_mode"),
        ("{}", "{interface_name: a/b}", "2:32 'a/b' is not valid"),
        ("{}", "{interface_name: lo}", "'lo' is not valid"),
        ("{}", option("com.docker.network.endpoint.sysctls", "kernel.foo=1"), "'kernel.foo=1' is not net."),
        ("{}", option("com.docker.network.endpoint.foo", "1"), "is not supported for an endpoint"),
    ],
)
def test_refused(tmp_path, network, attachment, words):
    desired = translated(tmp_path, network, attachment)
    (line,) = desired.services["a"].refused
    place, _, why = line.removeprefix(f"{tmp_path}/compose.yaml:").partition(": ")
    assert words in f"{place} {why.partition(': ')[2]}"
    assert not desired.services["b"].refused


@pytest.mark.parametrize(
    ("network", "attachment"),
    [
        (ipam(NET), "{ipv4_address: 10.1.0.2}"),
        (ipam("subnet: 10.1.0.0/31"), "{ipv4_address: 10.1.0.1}"),
        (ipam("subnet: 0.0.0.0/24"), "{ipv4_address: 10.1.0.1}"),
        ("{external: true}", '{ipv4_address: 10.1.0.1, ipv6_address: "fd00::1"}'),
        ("{driver: overlay}", "{ipv4_address: 10.1.0.1}"),
        ("{driver: macvlan, driver_opts: {parent: e}, ipam: {driver: dhcp}}", "{ipv4_address: 10.1.0.1}"),
        (option(MTU, "1000"), "{}"),
        ("{}", option("foo", "bar")),
        (option("com.docker.network.bridge.gateway_mode_ipv4", "isolated", "internal: true, "), "{}"),
    ],
)
def test_accepted(tmp_path, network, attachment):
    assert not translated(tmp_path, network, attachment).services["a"].refused


@pytest.mark.parametrize("key", ["ipv4_address", "ipv6_address"])
def test_an_address_of_a_version_that_is_off_has_no_effect(tmp_path, key):
    """As in Docker: the subnet is set, but the network does not use it."""
    subnets = '{subnet: 10.1.0.0/24}, {subnet: "fd00::/64"}'
    more = "enable_ipv6: true, enable_ipv4: false, " if key == "ipv4_address" else ""
    given = '{ipv4_address: 10.1.0.5, ipv6_address: "fd00::5"}'
    desired = translated(tmp_path, f"{{{more}ipam: {{config: [{subnets}]}}}}", given)
    (attachment,) = desired.services["a"].container.networks
    found = msgspec.structs.asdict(attachment)
    assert found[key] == "" and any(key in one for one in desired.warnings)
    assert not desired.services["a"].refused
