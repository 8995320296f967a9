"""Connections: kept ones, proxies, content codings."""

import gzip
import http.server
import socket
import ssl
import threading

import pytest
from urllib3.exceptions import ProtocolError

from engine.errors import RegistryError
from engine.registry.transport import Transport, is_loopback

BODY = b"what was asked for" * 10000


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, self.headers, self.client_address))
        self.send_response(200)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.body) + self.server.missing))
        self.end_headers()
        self.wfile.write(self.server.body)
        if self.server.missing or self.server.hang_up:
            self.close_connection = True

    def do_CONNECT(self):
        self.server.seen.append((self.path, self.headers, self.client_address))
        self.send_response(self.server.tunnels)
        self.send_header("Content-Length", "0") if self.server.tunnels != 200 else None
        self.end_headers()
        if self.server.tunnels != 200:
            return
        self.close_connection = True
        with socket.create_connection(self.server.behind) as behind:
            back = threading.Thread(target=copy, args=(behind, self.connection))
            back.start()
            copy(self.connection, behind)
            behind.shutdown(socket.SHUT_RDWR)
            back.join()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen, self.headers, self.body = [], {}, BODY
        self.missing, self.hang_up, self.tunnels = 0, False, 200
        self.closed = threading.Semaphore(0)

    def shutdown_request(self, request):
        super().shutdown_request(request)
        self.closed.release()


def copy(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass


@pytest.fixture
def start():
    servers = []

    def start(context=None):
        server = Server()
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def to(server):
    """A transport to `server`, without a first request that detects TLS."""
    return Transport("registry.example", mirror=f"http://127.0.0.1:{server.server_address[1]}")


def behind(proxy, scheme, monkeypatch, secure):
    """A transport that reaches registry.example over `proxy` only."""
    monkeypatch.setenv(f"{scheme}_proxy", f"http{'s' * secure}://me:p%40ss@127.0.0.1:{proxy.server_address[1]}")
    return Transport("registry.example", ["registry.example"], mirror=f"{scheme}://registry.example:5000")


def whole(transport):
    with transport.request("GET", "/v2/?a=b", headers={}, retry=False) as response:
        return response.read(decode_content=True)


def test_a_connection_is_kept(start):
    server = start()
    ours = to(server)
    for _ in range(3):
        assert whole(ours) == BODY
    assert len({address for _, _, address in server.seen}) == 1


def test_closed_connection_is_not_reused(start):
    server = start()
    ours = to(server)
    server.hang_up = True
    for _ in range(3):
        assert whole(ours) == BODY
        assert server.closed.acquire(timeout=5)
    assert len({address for _, _, address in server.seen}) == 3


def test_a_body_with_much_left_is_not_read_to_its_end(start):
    server = start()
    ours = to(server)
    for _ in range(2):
        with ours.request("GET", "/", headers={}) as response:
            assert response.read(10) == BODY[:10]
    assert len({address for _, _, address in server.seen}) == 2


def test_a_body_that_ends_early(start):
    server = start()
    server.missing = 1
    with pytest.raises(ProtocolError):
        whole(to(server))


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
        ("identity", bytes),
    ],
)
def test_content_codings(start, coding, encode):
    server = start()
    server.headers, server.body = {"Content-Encoding": coding}, encode(BODY)
    assert whole(to(server)) == BODY


@pytest.mark.parametrize("secure", [False, True])
def test_http_through_a_proxy(start, tls, monkeypatch, secure):
    proxy = start(tls if secure else None)
    assert whole(behind(proxy, "http", monkeypatch, secure)) == BODY
    [(path, headers, _)] = proxy.seen
    assert path == "http://registry.example:5000/v2/?a=b"
    assert headers["Host"] == "registry.example:5000"
    assert headers["Proxy-Authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize("secure", [False, True])
def test_https_through_a_proxy(start, tls, monkeypatch, secure):
    server, proxy = start(tls), start(tls if secure else None)
    proxy.behind = server.server_address
    ours = behind(proxy, "https", monkeypatch, secure)
    for _ in range(2):
        assert whole(ours) == BODY
    [(path, headers, _)] = proxy.seen
    assert path == "registry.example:5000" and headers["Proxy-Authorization"] == "Basic bWU6cEBzcw=="
    assert [(path, headers["Host"]) for path, headers, _ in server.seen] == [("/v2/?a=b", "registry.example:5000")] * 2
    assert "Proxy-Authorization" not in server.seen[0][1]


def test_a_proxy_that_refuses(start, monkeypatch):
    proxy = start()
    proxy.tunnels = 407
    with pytest.raises(RegistryError, match=r"no answer from registry registry\.example:5000.*407"):
        whole(behind(proxy, "https", monkeypatch, False))


def test_no_proxy(start, monkeypatch):
    server = start()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert whole(to(server)) == BODY


def test_a_proxy_without_a_scheme(start, monkeypatch):
    proxy = start()
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.server_address[1]}")
    assert whole(Transport("registry.example", mirror="http://registry.example")) == BODY


def test_a_proxy_that_is_not_supported(monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://me:secret@proxy.example")
    with pytest.raises(RegistryError, match=r"the proxy proxy\.example of http_proxy is not supported"):
        whole(Transport("registry.example", mirror="http://registry.example"))


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"])
def test_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["127.evil.example", "127.0.0.1.example:5000", "10.0.0.1", "[::2]", "[fe80::1]:5000", ""]
)
def test_proxy_for_other_hosts(host):
    assert not is_loopback(host)
