"""No text from a container, an image, a file or a registry can control the user's terminal."""

import http.server
import json
import threading

import pytest

SHOWN = (
    ("ps",), ("ps", "-a", "--no-trunc"), ("ps", "--format", "json"), ("ps", "--format", "{{.Labels}} {{.Command}} {{.Status}}"),
    ("top",), ("images",), ("images", "--format", "json"), ("ls", "-a"), ("ls", "--format", "json"), ("volumes",),
    ("volumes", "--format", "{{.Labels}}"), ("stats", "--no-stream"), ("config",), ("config", "--format", "json"),
    ("config", "--environment"), ("config", "--hash", "*"), ("events", "--since", "1h", "--until", "0s", "--json"),
    ("events", "--since", "1h", "--until", "0s"), ("up", "--dry-run"), ("exec", "-T", "name", "/no\x1b]0;EXEC\x07"),
    ("exec", "no\x1b]0;SERVICE\x07", "true"), ("cp", "name:/no\x1b]0;CP\x07", "."), ("logs", "\x1b]0;SERVICE\x07"),
    ("--\x1b]0;FLAG\x07",), ("\x1b]0;COMMAND\x07",), ("-f", "\x1b]0;FILE\x07", "ps"), ("port", "name", "80"),
    ("down", "--dry-run"),
)  # fmt: skip
FAILING = (("up", "waits"), ("up", "missing"), ("up", "-d", "missing"), ("run", "-T", "missing"), ("build", "built"))


def harmless(result):
    for text in (result.out, result.err):
        acting = {c for c in text if (ord(c) < 0x20 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0}
        assert not acting, f"{result.args}: {text!a}"


def test_every_listing_and_every_failure(composer):
    composer("up", "-d", "name", "bad")
    composer("exec", "-T", "name", "sh", "-c", "until grep -q data /proc/mounts; do :; done")
    for words in SHOWN:
        result = composer(*words, code=None)
        harmless(result)
        if words[0] == "top":
            assert "ARG" in result.out and not any(line.startswith("root 1") for line in result.out.splitlines())
    for words in FAILING:
        result = composer("--progress", "json" if words[0] == "run" else "plain", *words, code=None)
        harmless(result)
        assert result.code
        if words == ("up", "waits"):
            assert "HEALTH" in result.err


MESSAGES = (
    (401, {}, b'{"errors":[{"code":"X\x1b]0;T\x07","message":"said \\u001b]0;T\\u0007 \xc2\x9b31m"}]}'),
    (500, {}, b"plain \x1b]0;T\x07 text"),
    (200, {"Docker-Content-Digest": "sha256:\x1bx", "Content-Type": "a\x1b]0;T"}, b"{\x1b}"),
    (307, {"Location": "http://\x1b]0;T\x07/"}, b""),
    (401, {"WWW-Authenticate": 'Bearer realm="x\x1b]0;T\x07",service="\x1b"'}, b""),
    (429, {"Retry-After": "\x1b]0;T"}, b"\x1b]0;T"),
)


@pytest.mark.parametrize("answer", MESSAGES, ids=range(len(MESSAGES)))
def test_registry_errors_are_shown(composer, answer):
    status, headers, body = answer

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/v2/":
                self.send_response(200)
                self.end_headers()
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        composer.environ["REGISTRY"] = f"127.0.0.1:{server.server_port}"
        for mode in ("tty",) if status in (401, 429) else ("json",):
            result = composer("--progress", mode, "pull", "pulled", code=None)
            assert result.code
            if mode == "tty":
                assert "\x1b]" not in result.err and "\x07" not in result.err
                continue
            harmless(result)
            if mode == "json":
                assert all(json.loads(line) for line in result.err.splitlines() if line.startswith("{"))
    finally:
        server.shutdown()
        server.server_close()
