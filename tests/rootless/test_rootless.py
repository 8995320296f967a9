"""An ordinary user's project: everything works as for root, and unavailable features have clear errors."""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
import uuid
from pathlib import Path

import pytest

from engine.kernel import calls, flags
from tests.rootless.as_user import FIRST, UID
from tests.rootless.conftest import PATIENCE

WEB = """
services:
  web:
    image: busybox
    command: [sh, -c, "mkdir -p /www && echo hello > /www/index.html && exec httpd -f -p 80 -h /www"]
    init: true
    ports: ["18080:80", "127.0.0.1:18081:80"]
    volumes: [data:/data]
    healthcheck: {test: [CMD, wget, -qO-, "http://localhost/"], start_interval: 100ms, start_period: 10s}
  worker:
    image: busybox
    user: "1000"
    command: [sh, -c, "until wget -qO- http://web/; do sleep 0.1; done; id; exec sleep 600"]
    depends_on: {web: {condition: service_healthy}}
    deploy: {resources: {limits: {memory: 64M}}}
    stop_grace_period: 0s
volumes:
  data:
"""


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


def test_a_project(user):
    user.write(compose=WEB)
    up = user("up", "-d")
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        assert "Warning: service worker: the limit memory is not enforced" in up.err
    assert {line.split()[0] for line in user("ps").out.splitlines()[1:]} == {"project-web-1", "project-worker-1"}
    for url in ("http://127.0.0.1:18080/", "http://[::1]:18080/", "http://127.0.0.1:18081/"):
        assert get(url) == b"hello\n"
    assert "uid=0(root)" in user("exec", "web", "id").out
    assert "uid=1000(web)" in user("exec", "-T", "worker", "id").out
    assert user("exec", "web", "sh", "-c", "exit 7", code=7).out == ""
    user("exec", "web", "sh", "-c", "touch /data/a && chown 1000:1000 /data/a")
    logs = user("logs", "--no-color", "worker").out
    assert "worker-1  | hello\n" in logs
    assert "worker-1  | uid=1000" in logs
    assert user("up", "-d").err.count("Running") == 2
    # On the host root is the user, others are its subordinate ids.
    assert (user.state / "volumes/project_data/_data/a").stat().st_uid == FIRST + 999
    assert (user.state / "composer.db").stat().st_uid == UID
    assert {os.stat(f"/proc/{pid}").st_uid for pid in user.processes()} == {UID, FIRST + 999}
    user("down", "-v", "-t", "0")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", 18080))
    assert not list((user.state / "volumes").iterdir())


@pytest.fixture
def outside():
    """A server on the host at a non-loopback address."""
    subprocess.run(["ip", "address", "add", "198.51.100.1/32", "dev", "lo"], check=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from outside\n")

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("198.51.100.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()
    subprocess.run(["ip", "address", "delete", "198.51.100.1/32", "dev", "lo"], check=True)


def test_builds_and_reaches_the_outside(user, outside):
    url = f"http://198.51.100.1:{outside}/"
    user.write(
        compose="services: {a: {build: ., command: [sh, -c, 'ls -ln / && cat /b/c && wget -qO- " + url + "']}}\n",
        Dockerfile=f"""FROM busybox
RUN mkdir -p /b/old && chown 5:6 /b && wget -qO- {url} > /b/c
RUN rm -r /b/old && mkdir /b/old && ln -s c /b/d
COPY --chown=7:8 compose.yaml /e
""",
    )
    shown = user("up", "--build", "--no-color").out
    assert shown.count("from outside") == 2
    assert " 5        6 " in shown
    assert " 7        8 " in shown
    images = user("run", "--rm", "-T", "a", "sh", "-c", "ls /b/old | wc -l; readlink /b/d").out
    assert images.split() == ["0", "c"]


@pytest.fixture
def far():
    """Addresses of a client that is not the host's loopback."""
    addresses = ("198.51.100.7", "2001:db8:7::7")
    for address in addresses:
        length = "128" if ":" in address else "32"
        subprocess.run(["ip", "address", "add", f"{address}/{length}", "dev", "lo"], check=True)
    yield addresses
    for address in addresses:
        length = "128" if ":" in address else "32"
        subprocess.run(["ip", "address", "delete", f"{address}/{length}", "dev", "lo"], check=True)


def sockets_in(pid, port):
    """Sockets in the network namespace of the process: (kind, version) → socket."""
    found = {}

    def work():
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        calls.setns(fd, flags.CLONE["net"])
        os.close(fd)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for family, every in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                sock = socket.socket(family, kind)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((every, port))
                sock.settimeout(PATIENCE)
                if kind == socket.SOCK_STREAM:
                    sock.listen()
                found[kind, family] = sock

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found


def test_a_container_sees_its_clients_addresses(user, far):
    """From outside; a client on the host's loopback, and a neighbour's address, are the network's gateway."""
    user.write(
        compose="""
services: {web: {image: busybox, command: sleep 600, ports: ["18082:80", "18082:80/udp"]}}
networks: {default: {enable_ipv6: true, ipam: {config: [{subnet: 10.77.0.0/24}, {subnet: "fd77::/64"}]}}}
"""
    )
    user("up", "-d")
    sleeper = next(pid for pid in user.processes() if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00600\x00")
    servers = sockets_in(sleeper, 80)
    for client in (*far, "127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in client else socket.AF_INET
        expected = client if client in far else {socket.AF_INET: "10.77.0.1", socket.AF_INET6: "fd77::1"}[family]
        for _ in range(2):
            with socket.socket(family, socket.SOCK_STREAM) as near:
                near.settimeout(PATIENCE)
                near.bind((client, 0))
                port = near.getsockname()[1]
                near.connect((client, 18082))
                server, peer = servers[socket.SOCK_STREAM, family].accept()
                with server:
                    server.settimeout(PATIENCE)
                    server.sendall(b"hello")
                    assert near.recv(5) == b"hello"
                    near.sendall(bytes(1 << 18))
                    near.shutdown(socket.SHUT_WR)
                    assert sum(len(data) for data in iter(lambda sock=server: sock.recv(1 << 16), b"")) == 1 << 18
                assert peer[0] == expected and (client not in far or peer[1] == port)
        with socket.socket(family, socket.SOCK_DGRAM) as near:
            near.settimeout(PATIENCE)
            near.bind((client, 0))
            near.connect((client, 18082))
            near.send(b"question")
            server = servers[socket.SOCK_DGRAM, family]
            data, peer = server.recvfrom(100)
            server.sendto(data[::-1], peer)
            assert near.recv(100) == b"noitseuq" and peer[0] == expected
    for sock in servers.values():
        sock.close()


@pytest.fixture
def resolver(outside):
    """A DNS server at that address, which answers every question with the same address."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("198.51.100.1", 53))

    def serve():
        while (found := sock.recvfrom(512))[0]:
            data, peer = found
            record = b"\xc0\x0c\0\1\0\1" + bytes(4) + b"\0\4" + bytes((203, 0, 113, 9))
            sock.sendto(data[:2] + b"\x81\x80\0\1\0\1" + bytes(4) + data[12:] + record, peer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    with socket.socket(type=socket.SOCK_DGRAM) as last:
        last.sendto(b"", ("198.51.100.1", 53))
    thread.join()
    sock.close()


def test_names_from_outside(user, resolver):
    user.write(compose="services: {a: {image: busybox, command: nslookup -type=a x.test, dns: [198.51.100.1]}}\n")
    assert "203.0.113.9" in user("up", "--no-color").out


LOOK = (
    "{ for n in 0 1 2; do readlink /proc/self/fd/$n; chmod 667 /proc/self/fd/$n 2>&1; done; "
    "stat -L -c '%F' /proc/self/fd/0 /proc/self/fd/2; } | tee /tmp/seen.$$"
)
"""The standard streams, and an attempt to change them. An ordinary user cannot create devices: /dev/null is the host's,
which only the host's root may change."""


def test_standard_streams(user):
    """None belongs to the caller, however a process is started."""
    hook = {"command": ["sh", "-c", f"{LOOK}; mv /tmp/seen.$$ /tmp/hook"]}
    probe = ["CMD-SHELL", f"{LOOK}; mv /tmp/seen.$$ /tmp/probe"]
    service = {
        "build": ".", "image": "looks", "init": True, "stop_grace_period": "0s", "post_start": [hook],
        "volumes": ["seen:/seen"],
        "command": ["sh", "-c", f"mkdir /tmp; {LOOK}; mv /tmp/seen.$$ /tmp/first; exec sleep 600"],
        "healthcheck": {"test": probe, "start_interval": "100ms", "start_period": "10s"},
    }  # fmt: skip
    user.write(
        compose=json.dumps(
            {
                "services": {"a": service, "b": {"image": "looks", "scale": 0, "volumes": ["seen:/seen"]}},
                "volumes": {"seen": {}},
            }
        ).replace("$", "$$"),
        Dockerfile=f"FROM busybox\nRUN mkdir -p /tmp; {LOOK}; mv /tmp/seen.$$ /tmp/step\n",
    )
    (user.home / "caller").touch()
    before = [os.stat(path) for path in ("/dev/null", user.home / "caller")]
    with open(user.home / "caller", "r+b") as caller:
        for words in (
            ("up", "-d", "--build", "--wait"),
            ("exec", "-d", "a", "sh", "-c", f"{LOOK}; mv /tmp/seen.$$ /tmp/detached"),
            ("exec", "-T", "a", "sh", "-c", f"{LOOK}; mv /tmp/seen.$$ /tmp/exec"),
            ("run", "--rm", "-T", "b", "sh", "-c", f"mkdir -p /tmp; {LOOK}; mv /tmp/seen.$$ /seen/run"),
        ):
            done = user(*words, code=None, streams=caller)
            assert done.code == 0, (user.home / "caller").read_text()
    user("exec", "-T", "a", "sh", "-c", "until test -e /tmp/detached; do sleep 0.05; done")
    for name in ("tmp/step", "tmp/first", "tmp/hook", "tmp/probe", "tmp/detached", "tmp/exec", "seen/run"):
        said = user("exec", "-T", "a", "cat", f"/{name}").out
        assert said and not re.search(r"caller|regular|^/(?!dev/null|proc)", said, re.M), (name, said)
    after = [os.stat(path) for path in ("/dev/null", user.home / "caller")]
    assert [(s.st_mode, s.st_uid) for s in before] == [(s.st_mode, s.st_uid) for s in after]


def test_missing_helpers_are_named(user):
    user.write(
        compose="""
services:
  low: {image: busybox, ports: ["80:80"]}
  taken: {image: busybox, ports: ["18082:80"]}
  spared: {image: busybox, oom_score_adj: -5}
  greedy: {image: busybox, ulimits: {nofile: 2000000000}}
  frozen: {image: busybox, command: [sleep, "600"], init: true}
"""
    )
    with socket.create_server(("0.0.0.0", 18082)):
        said = user("up", "-d", code=1).err
    assert "port 0.0.0.0:80/tcp cannot be bound: permission denied\nPublish a port from 1024 on" in said
    assert "port 0.0.0.0:18082/tcp is already in use" in said
    assert "Only the host's root may lower it to -5." in said
    assert "set ulimit nofile=2000000000:2000000000" in said
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        assert "a container cannot be paused" in user("pause", "frozen", code=1).err


def test_devices_are_the_hosts_and_privileged_is_of_the_namespace_only(user):
    user.write(
        compose="""
services:
  plain: {image: busybox, devices: [/dev/fuse], command: [sh, -c, "echo x > /dev/null && ls /dev/fuse && ! mknod /x c 1 3"]}
  all: {image: busybox, privileged: true, command: [sh, -c, "mount -t tmpfs x /tmp && ! mknod /x c 1 3"]}
"""
    )
    for service in ("plain", "all"):
        user("up", "--exit-code-from", service, service)


def test_namespace_process_may_be_killed(user):
    user.write(compose=WEB)
    user("up", "-d")
    hostname = user("exec", "web", "hostname").out
    (keeping,) = {pid for pid, line in user.processes().items() if "rootless/main.py" in line and _is_leader(pid)}
    os.kill(keeping, signal.SIGKILL)
    assert get("http://127.0.0.1:18080/") == b"hello\n"
    assert user("exec", "web", "hostname").out == hostname
    user("restart", "-t", "0", "web")
    until_answered("http://127.0.0.1:18080/")


def test_the_supervisor_may_be_killed(user):
    """It holds the host's sockets; the keeper starts another supervisor, which requests them again."""
    user.write(compose=WEB)
    user("up", "-d", "web")
    (supervisor,) = (pid for pid, line in user.processes().items() if " supervise " in line)
    os.kill(supervisor, signal.SIGKILL)
    until_answered("http://127.0.0.1:18080/")
    assert "uid=0(root)" in user("exec", "web", "id").out


def test_comes_back_after_a_reboot(user):
    user.write(compose=WEB.replace("    init: true\n", "    init: true\n    restart: unless-stopped\n"))
    user("up", "-d", "web")
    assert "WantedBy=default.target" in user("autostart", "enable", "--print").out
    while left := user.processes():  # the keeper starts another supervisor
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    shutil.rmtree(user.run_root)
    now = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for state in user.state.glob("groups/*/*/state.json"):  # a mount over /proc would forbid the containers theirs
        state.write_text(state.read_text().replace(now, str(uuid.uuid4())))
    assert "Exited" in user("ps", "--all").out
    user("autostart", "run")
    until_answered("http://127.0.0.1:18080/")


def until_answered(url):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            assert get(url) == b"hello\n"
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _is_leader(pid):
    """The process that keeps the namespace has its own session; the one that waits inside belongs to it."""
    return os.getsid(pid) == pid


def test_without_subordinate_ids(user):
    user.write(compose=WEB)
    without = user(
        "up", "-d", code=1, environ={"AS_USER_WITHOUT": "subuid", "COMPOSER_RUN_ROOT": f"{user.home}/run/other"}
    )
    assert "alice has no subordinate uids in /etc/subuid; images need 65536" in without.err
    assert "usermod --add-subuids" in without.err


def test_reading_makes_no_namespace(user):
    other = {"COMPOSER_RUN_ROOT": f"{user.home}/run/other", "COMPOSER_STATE_ROOT": f"{user.home}/other"}
    assert user("ls", "-q", environ=other).out == ""
    assert not os.path.exists(f"{user.home}/run/other/rootless.sock")


def test_a_run_root_of_another_user(user):
    folder = user.home / "foreign"
    folder.mkdir()
    folder.chmod(0o777)
    user.write(compose=WEB)
    environ = {"COMPOSER_RUN_ROOT": str(folder)}
    refused = user("up", "-d", code=1, environ=environ)
    assert "it belongs to another user" in refused.err
    # The namespace exists, and its owner could create a link to its socket that leads past a check of the socket.
    user("ps")
    (folder / "rootless.sock").symlink_to(user.run_root / "rootless.sock")
    for words in (("up", "-d"), ("ps",), ("down",)):
        assert "it belongs to another user" in user(*words, code=1, environ=environ).err


def test_namespaces_of_the_host(user):
    service = {"image": "busybox", "command": "sleep 600", "init": False, "stop_grace_period": "0s"}
    kinds = {"p": {"pid": "host"}, "i": {"ipc": "host"}, "u": {"uts": "host"}, "c": {"cgroup": "host"}}
    user.write(compose=json.dumps({"services": {name: {**service, **kind} for name, kind in kinds.items()}}))
    user("up", "-d")
    for name, kind in (("p", "pid"), ("i", "ipc"), ("u", "uts"), ("c", "cgroup")):
        assert user("exec", "-T", name, "readlink", f"/proc/self/ns/{kind}").out.strip() == os.readlink(
            f"/proc/self/ns/{kind}"
        )
    # The machine's /proc may hide the processes of other users.
    assert {str(pid) for pid, words in user.processes().items() if words == "sleep 600 "} <= set(
        user("exec", "-T", "p", "ls", "/proc").out.split()
    )
    for path in ("/proc/kcore", "/proc/keys"):
        assert user("exec", "-T", "p", "head", "-c", "1", path, code=None).out == ""
    mounted = user("exec", "-T", "p", "grep", " /proc/sys ", "/proc/self/mountinfo").out
    assert mounted.split()[5].startswith("ro,")
