"""The default network of RUN steps, in a network namespace that represents the host's."""

import ctypes
import http.server
import os
import re
import subprocess
import threading

import pytest

from engine.build.container_run import ContainerRun
from engine.errors import InvalidSpec
from engine.kernel import calls, flags
from engine.session.build_network import BuildNetwork
from engine.store import Store


@pytest.fixture(autouse=True)
def namespace():
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    calls.unshare(flags.CLONE["net"])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    yield
    assert links() == ["lo"]
    ctypes.CDLL(None).setns(before, 0)
    os.close(before)


def links():
    return [
        line.split(":")[1].strip() for line in subprocess.check_output(["ip", "-o", "link"], text=True).splitlines()
    ]


@pytest.fixture
def website():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from the host")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("0.0.0.0", 8123), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def builder(builder, busybox, images):
    with ContainerRun(images.store.roots, lambda: BuildNetwork(images.store.roots)) as run:
        builder.run = run
        yield builder


@pytest.fixture
def run(images):
    return None


def output(builder):
    return [found[1] for line in builder.lines if (found := re.match(r"#\d+ \d+\.\d{3} (.*)", line))]


FETCH = "wget -qO- http://$(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'):8123/"


def test_step_network_is_removed(builder, images, website):
    builder(f"FROM busybox\nRUN ip -o addr show eth0 | wc -l && {FETCH}\nRUN {FETCH} > /fetched")
    assert output(builder)[-1] == "from the host"
    builder.run.close()
    assert links() == ["lo"]
    store = images.store
    for table in ("containers", "addresses", "networks", "subnets"):
        assert store.db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_stages_side_by_side(builder, website):
    text = "".join(f"FROM busybox AS s{number}\nRUN {FETCH} > /{number}\n" for number in range(3))
    text += "FROM scratch\n" + "".join(f"COPY --from=s{number} /{number} /\n" for number in range(3))
    assert builder.tree(builder(text)) == {str(number): "from the host" for number in range(3)}


def test_build_without_an_agent(builder):
    builder("FROM busybox\nRUN --network=none ip -o link | wc -l")
    assert output(builder) == ["1"]


def test_an_unknown_network(builder):
    with pytest.raises(InvalidSpec, match="no such network"):
        builder("FROM busybox\nRUN true", network="nope")


def test_resources_of_a_killed_build_are_released(builder, images, website):
    """The next build's sweep finds its lease."""
    dead = f"{images.store.roots.run}/build-dead"
    os.makedirs(dead)
    store = Store(images.store.roots)
    with store.transaction() as db:
        db.execute("INSERT INTO containers VALUES ('x', 'build-dead-x', 'build-dead', '')")
    store.close()
    builder(f"FROM busybox\nRUN {FETCH}")
    assert images.store.db.execute("SELECT count(*) FROM containers").fetchone() == (0,)
    assert not os.path.exists(dead)
