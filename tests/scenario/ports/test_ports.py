"""Published ports: from the host itself, from another machine, and when they are already in use."""

import socket
import subprocess
import urllib.request

import pytest


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


def test_published_port_from_localhost(composer):
    composer("up", "-d", "--wait")
    assert get("http://127.0.0.1:8080/") == b"hello\n"
    assert get("http://localhost:8081/") == b"hello\n"
    assert composer("port", "web", "80").out.strip() in ("0.0.0.0:8080", "127.0.0.1:8081")
    shown = composer("port", "web").out.splitlines()
    assert {"80/tcp -> 0.0.0.0:8080", "80/tcp -> 127.0.0.1:8081"} <= set(shown)
    assert "8080->80/tcp" in composer("ps").out
    composer("down")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", 8080))


@pytest.fixture
def other_machine():
    """A network namespace linked to ours as 192.0.2.2; we are 192.0.2.1."""
    with subprocess.Popen(["unshare", "-n", "sleep", "600"]) as process:
        try:
            # The namespace exists once the process runs its program.
            while open(f"/proc/{process.pid}/comm").read() != "sleep\n":
                pass
            inside = ["nsenter", "-t", str(process.pid), "-n"]
            for command in (
                ["ip", "link", "add", "tm0", "type", "veth", "peer", "name", "tm1", "netns", str(process.pid)],
                ["ip", "address", "add", "192.0.2.1/24", "dev", "tm0"],
                ["ip", "link", "set", "tm0", "up"],
                [*inside, "ip", "address", "add", "192.0.2.2/24", "dev", "tm1"],
                [*inside, "ip", "link", "set", "tm1", "up"],
                [*inside, "ip", "link", "set", "lo", "up"],
            ):
                subprocess.run(command, check=True)
            yield inside
            subprocess.run(["ip", "link", "delete", "tm0"], check=True)
        finally:
            process.kill()


def test_published_port_from_another_machine(other_machine, composer):
    composer("up", "-d", "--wait")
    url = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=3).read())"
    ask = [*other_machine, "python3", "-c", url]
    assert (
        "hello" in subprocess.run([*ask, "http://192.0.2.1:8080/"], capture_output=True, text=True, check=True).stdout
    )
    # Other machines cannot reach ports published only on the loopback address.
    assert subprocess.run([*ask, "http://192.0.2.1:8081/"], capture_output=True).returncode


def test_a_port_in_use(composer):
    with socket.create_server(("0.0.0.0", 8080)):
        done = composer("up", "-d", code=1)
    assert "8080" in done.err
    assert "web" in done.err
    assert "Traceback" not in done.err
    composer("up", "-d", "--wait")
    assert get("http://127.0.0.1:8080/") == b"hello\n"
