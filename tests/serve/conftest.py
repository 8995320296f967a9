"""A server of the Docker API for a state root with containers, and requests to it over its socket."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys

import pytest


class Api:
    """Requests to the server on `path`, each on a new connection."""

    def __init__(self, path):
        self.path = path

    def raw(self, method, path, body=None, headers=None):
        """(status, headers, bytes of the body)."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self.connect()
        with contextlib.closing(connection):
            given = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), {**given, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        sock.connect(self.path)
        return sock

    def __call__(self, method, path, body=None, *, status=None):
        """The JSON of an answer (None for an empty one), whose status must be the given one, or a success."""
        found, _, content = self.raw(method, path, body)
        assert found == status if status else found < 300, content
        return json.loads(content) if content.strip() else None

    def get(self, path, status=None):
        return self("GET", path, status=status)

    def refused(self, method, path, body=None):
        """(status, message) of an error."""
        status, _, content = self.raw(method, path, body)
        assert status >= 400, content
        answer = json.loads(content)
        assert list(answer) == ["message"]
        return status, answer["message"]


@contextlib.contextmanager
def serving(roots, *flags):
    """A server of these roots, until the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "composer", "serve", *flags],
        env={**os.environ, **roots.environment()},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        assert line.startswith("serving on unix://"), line + process.stderr.read()
        yield Api(line.removeprefix("serving on unix://").strip())
    finally:
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        process.wait()
        process.stderr.close()
        assert "Traceback" not in said, said


@pytest.fixture
def api(roots):
    with serving(roots) as found:
        yield found
