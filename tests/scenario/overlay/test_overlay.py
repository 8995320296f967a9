"""Two hosts that share a network: the session's network namespace and another one, with a link between them."""

import contextlib
import io
import shutil
import socket
import struct
import subprocess
import tempfile

import pytest

from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.paths import Roots
from engine.spec.image import ImageConfig
from engine.store import Store
from tests.scenario.command import Composer

VXLAN = struct.Struct(">II")


class Elsewhere(Composer):
    """The command line on the other host."""

    host = 0

    def command(self, *words):
        return ["nsenter", f"--net=/proc/{self.host}/ns/net", *super().command(*words)]


@pytest.fixture
def other_host():
    """The other host's process; this host is 192.0.2.1, the other 192.0.2.2, and also 192.0.2.3, which is not a
    peer."""
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec cat"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    run = lambda text: subprocess.run(text.split(), check=True)  # noqa: E731
    inside = f"nsenter --net=/proc/{process.pid}/ns/net"
    run(f"ip link add cable type veth peer name cable netns {process.pid}")
    run("ip address add 192.0.2.1/24 dev cable")
    run("ip link set cable up")
    run(f"{inside} ip address add 192.0.2.2/24 dev cable")
    run(f"{inside} ip address add 192.0.2.3/24 dev cable")
    run(f"{inside} ip link set cable up")
    yield process.pid
    run("ip link delete cable")
    process.stdin.close()
    process.wait()


@pytest.fixture
def elsewhere(composer, other_host, busybox_rootfs, tmp_path, request):
    """The command line there; `composer`, which ends after it, detects what it leaves behind."""
    folder = tempfile.mkdtemp(prefix="ct-")  # short, for the paths of sockets
    roots = Roots(f"{folder}/s", f"{folder}/r")
    store = Store(roots)
    config = ImageConfig(environment=("PATH=/bin",), command=("sh",))
    import_rootfs(ImageStore(store), io.BytesIO(busybox_rootfs), tags=["busybox"], config=config)
    store.close()
    (tmp_path / "second").mkdir()
    command = Elsewhere(tmp_path / "second", roots, request.path.parent)
    command.host = other_host
    yield command
    command.end()
    shutil.rmtree(folder)


def addresses(command, service):
    return command("exec", "-T", service, "ip", "-4", "-o", "addr", "show", "eth0").out.split()[3]


def test_containers_reach_each_other_by_name_across_hosts(composer, elsewhere):
    composer("--profile", "web", "up", "-d")
    elsewhere("--profile", "client", "up", "-d")
    ours, theirs = addresses(composer, "web"), addresses(elsewhere, "client")
    assert ours.endswith("/20") and theirs.endswith("/20") and ours != theirs
    assert "root:x:0" in elsewhere("exec", "-T", "client", "wget", "-qO-", "http://web/passwd").out
    assert "root:x:0" in elsewhere("exec", "-T", "client", "wget", "-qO-", "http://web.shared/passwd").out
    assert elsewhere("exec", "-T", "client", "nslookup", "nobody", code=None).code == 1
    composer("--profile", "client", "up", "-d")
    assert "root:x:0" in composer("exec", "-T", "client", "wget", "-qO-", "http://web/passwd").out
    size = 1500 - 50 - 28
    assert elsewhere("exec", "-T", "client", "ping", "-c1", "-W5", "-s", size, "web").code == 0


def test_a_host_that_is_no_peer_sends_nothing_into_the_network(composer, elsewhere):
    """A frame for the bridge's address, in a VXLAN packet as a peer would send it, from an address that is not a
    peer's."""
    composer("--profile", "web", "up", "-d")
    web = addresses(composer, "web").split("/")[0]
    (line,) = [
        line for line in subprocess.check_output(["ip", "-d", "-o", "link"], text=True).splitlines() if "vxlan" in line
    ]
    number = int(line.split("vxlan id ")[1].split()[0])
    bridge = line.split("master ")[1].split()[0]
    seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
    seen.bind((bridge, 0))
    frame = bytes.fromhex("ffffffffffff" + "0242c0ffee01" + "88b5")
    for last, arrives in ((2, True), (3, False), (2, True)):
        packet = VXLAN.pack(0x08000000, number << 8) + frame + bytes((last,)) * 60
        send = (
            "import socket,sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
            f"s.bind(('192.0.2.{last}', 0)); s.sendto(bytes.fromhex('{packet.hex()}'), ('192.0.2.1', 4789))"
        )
        subprocess.run(["nsenter", f"--net=/proc/{elsewhere.host}/ns/net", "python3", "-c", send], check=True)
        if arrives:  # the earlier ones have been dropped by then
            seen.settimeout(10)
            assert seen.recv(2000)[14] == last
    seen.close()
    assert web


@pytest.mark.parametrize(
    "driver_opts, message",
    [
        ("{peers: 192.0.2.9}", "none of its hosts (192.0.2.9) is this one"),
        ("{peers: 'a=192.0.2.1,b=192.0.2.1'}", "duplicate address"),
        ("{peers: 'a=example.com'}", "'example.com' is not an IPv4 address"),
        ("{}", "needs the addresses of its hosts"),
        ("{peers: 192.0.2.1, encrypted: ''}", "an encrypted network takes no driver_opts.peers"),
        ("{encrypted: maybe}", "'maybe' is not true or false"),
        ("{peers: 192.0.2.1, com.docker.network.driver.overlay.vxlanid_list: '3'}", "is not one number from 256"),
    ],
)
def test_invalid_overlays_are_refused(composer, other_host, driver_opts, message):
    composer.write(
        compose=f"""
        services: {{one: {{image: busybox, networks: [n]}}}}
        networks: {{n: {{driver: overlay, driver_opts: {driver_opts}}}}}
        """
    )
    assert message in composer("up", "-d", code=1).err
    assert "cmv-" not in subprocess.check_output(["ip", "-o", "link"], text=True)


def test_hosts_from_networks_toml(composer, other_host, tmp_path):
    (tmp_path / "networks.toml").write_text(
        '[[overlay.hosts]]\nname = "first"\naddress = "192.0.2.1"\n[[overlay.hosts]]\nname = "second"\naddress = "192.0.2.2"\n'
    )
    composer.write(
        compose="""
        services: {one: {image: busybox, command: sleep 1000, init: true, networks: [n]}}
        networks: {n: {driver: overlay, ipam: {config: [{subnet: 10.5.0.0/24}]}}}
        """
    )
    composer.environ["COMPOSER_NETWORKS"] = str(tmp_path / "networks.toml")
    composer("up", "-d")
    assert addresses(composer, "one") == "10.5.0.2/24"
    with open(tmp_path / "networks.toml", "a") as file:
        file.write('[[overlay.hosts]]\nname = "third"\naddress = "192.0.2.3"\n')
    flooded = lambda: subprocess.check_output(["bridge", "fdb"], text=True).count(" dst 192.0.2.3 ")  # noqa: E731
    assert not flooded()
    assert "Created" in composer("up", "-d").err
    assert flooded() and addresses(composer, "one") == "10.5.0.2/24" and composer("up", "-d").err.count("Running") == 1


@pytest.fixture
def keys(composer, elsewhere, tmp_path):
    """networks.toml of both hosts, with each other's public key."""
    found = {}
    for name, command in (("first", composer), ("second", elsewhere)):
        own = tmp_path / f"{name}.toml"
        own.write_text(f'[overlay]\nprivate_key = "{tmp_path}/{name}.key"\n')
        command.environ["COMPOSER_NETWORKS"] = str(own)
        found[name] = command("network", "key").out.strip()
        assert command("network", "key").out.strip() == found[name]
    for name in found:
        lines = [f'[[overlay.hosts]]\nname = "{n}"\naddress = "192.0.2.{i}"\npublic_key = "{found[n]}"\n'
                 for i, n in enumerate(found, 1)]  # fmt: skip
        with open(tmp_path / f"{name}.toml", "a") as file:
            file.write("\n".join(lines))
    for command in (composer, elsewhere):
        text = (command.folder / "compose.yaml").read_text()
        (command.folder / "compose.yaml").write_text(
            text.replace("peers: first=192.0.2.1,second=192.0.2.2", "encrypted: ''")
        )


def has_wireguard():
    made = subprocess.run(["ip", "link", "add", "wg-test", "type", "wireguard"], capture_output=True)
    subprocess.run(["ip", "link", "delete", "wg-test"], capture_output=True)
    return made.returncode == 0


def test_encrypted(composer, elsewhere, keys):
    """The traffic of containers is encrypted on the link; without WireGuard in the kernel, nothing is created."""
    if not has_wireguard():
        assert (
            "This kernel has no WireGuard: modprobe wireguard." in composer("--profile", "web", "up", "-d", code=1).err
        )
        assert "cmw-" not in subprocess.check_output(["ip", "-o", "link"], text=True)
        return
    seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    seen.bind(("cable", 0))
    seen.setblocking(False)
    composer("--profile", "web", "up", "-d")
    elsewhere("--profile", "client", "up", "-d")
    assert "root:x:0" in elsewhere("exec", "-T", "client", "wget", "-qO-", "http://web/passwd").out
    frames = []
    with contextlib.suppress(BlockingIOError):
        while True:
            frames.append(seen.recv(4000))
    seen.close()
    assert frames and not any(b"root:x:0" in one for one in frames)
    assert {struct.unpack_from(">H", one, 36)[0] for one in frames if one[12:14] == b"\x08\0" and one[23] == 17} == {
        51820
    }
    size = 1500 - 80 - 70 - 28
    assert elsewhere("exec", "-T", "client", "ping", "-c1", "-W5", "-s", size, "web").code == 0
    for command in (composer, elsewhere):
        command("--profile", "*", "down")
    assert "cmw-" not in subprocess.check_output(["ip", "-o", "link"], text=True)
