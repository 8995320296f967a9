"""Targets over TLS, with real certificates: which servers we trust, and our own certificate."""

import functools
import os
import re
import ssl
import subprocess

import pytest

from engine.errors import StartFailed
from tests.log.receivers import Encrypted, EncryptedForward
from tests.scenario.certificates import make as make_certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder of NAME.pem and NAME.key: the authorities ca and other; server, elsewhere (for another address) and
    client, which ca has signed; and ca as the only one of a directory of authorities."""
    folder = tmp_path_factory.mktemp("certificates")
    make = functools.partial(make_certificate, folder)
    signed = ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
    make("ca")
    make("other")
    make("server", *signed, "-addext", "subjectAltName=IP:127.0.0.1")
    make("elsewhere", *signed, "-addext", "subjectAltName=IP:127.0.0.2,DNS:elsewhere.example")
    make("client", *signed)
    (folder / "all").mkdir()
    (folder / "all" / "ca.pem").write_bytes((folder / "ca.pem").read_bytes())
    subprocess.run(["openssl", "rehash", folder / "all"], check=True)
    return folder


@pytest.fixture
def serve(receive, certificates):
    """Starts a receiver with the certificate `name`; `clients`: the authority of accepted clients."""

    def start(name="server", *, kind=Encrypted, clients="", newest=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        if newest is not None:
            context.maximum_version = newest
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates / f"{clients}.pem")
        return receive(functools.partial(kind, context=context))

    return start


def address(receiver, scheme="tcp+tls"):
    return f"{scheme}://127.0.0.1:{receiver.port}"


def test_an_authority_that_is_named(bench, serve, certificates):
    receiver = serve()

    async def story(bench):
        options = {"syslog-address": address(receiver), "syslog-tls-ca-cert": str(certificates / "ca.pem")}
        record = await bench.run("echo hello; echo again", driver="syslog", options=options)
        assert receiver.take().endswith(b": hello\n") and receiver.take().endswith(b": again\n")
        assert bench.text(record) == "hello\nagain\n"

    bench(story)


def test_octets_are_counted(bench, serve, certificates):
    """RFC 5425, 4.3.1."""
    receiver = serve()

    async def story(bench):
        options = {
            "syslog-address": address(receiver), "syslog-tls-ca-cert": str(certificates / "ca.pem"),
            "syslog-format": "rfc5424",
        }  # fmt: skip
        await bench.run("echo hello", driver="syslog", options=options)
        size, _, message = receiver.take().partition(b" ")
        assert int(size) == len(message) and message.startswith(b"<30>1 ") and message.endswith(b" - hello\n")

    bench(story)


@pytest.mark.parametrize(
    ("server", "options", "words"),
    [
        ("server", {"syslog-tls-ca-cert": "other.pem"}, "certificate verify failed"),
        ("server", {}, "certificate verify failed"),
        ("elsewhere", {"syslog-tls-ca-cert": "ca.pem"}, "certificate is not valid for '127.0.0.1'"),
        ("server", {"syslog-tls-ca-cert": "none.pem"}, "/none.pem: No such file or directory"),
        ("server", {"syslog-tls-ca-cert": "ca.key"}, "/ca.key: "),
        (
            "server",
            {"syslog-tls-ca-cert": "ca.pem", "syslog-tls-cert": "none.pem"},
            "/none.pem: No such file or directory",
        ),
        (
            "server",
            {"syslog-tls-ca-cert": "ca.pem", "syslog-tls-cert": "client.pem", "syslog-tls-key": "server.key"},
            "/client.pem: ",
        ),
    ],
)
def test_refused_at_the_start(bench, serve, certificates, server, options, words):
    receiver = serve(server)
    paths = {name: str(certificates / file) for name, file in options.items()}

    async def story(bench):
        with pytest.raises(StartFailed, match=r"failed to initialize logging driver syslog: .*" + re.escape(words)):
            await bench.start("true", driver="syslog", options={"syslog-address": address(receiver), **paths})
        assert receiver.messages.empty()

    bench(story)


def test_skip_verify_disables_checks(bench, serve):
    receiver = serve("elsewhere")

    async def story(bench):
        options = {"syslog-address": address(receiver), "syslog-tls-skip-verify": "true"}
        await bench.run("echo hello", driver="syslog", options=options)
        assert receiver.take().endswith(b": hello\n")

    bench(story)


def test_a_certificate_of_our_own(bench, serve, certificates):
    receiver = serve(clients="ca")

    async def story(bench):
        options = {
            "syslog-address": address(receiver), "syslog-tls-ca-cert": str(certificates / "ca.pem"),
            "syslog-tls-cert": str(certificates / "client.pem"), "syslog-tls-key": str(certificates / "client.key"),
        }  # fmt: skip
        await bench.run("echo hello", driver="syslog", options=options)
        assert receiver.take().endswith(b": hello\n")
        assert receiver.seen.get(timeout=20)["subject"] == ((("commonName", "client"),),)

    bench(story)


@pytest.mark.parametrize("own", ["", "other"])
def test_a_server_that_does_not_know_us(bench, serve, certificates, own):
    """In TLS 1.2 the refusal arrives before the handshake ends; in 1.3 a client that only sends would notice it too
    late."""
    receiver = serve(clients="ca", newest=ssl.TLSVersion.TLSv1_2)

    async def story(bench):
        options = {"syslog-address": address(receiver), "syslog-tls-ca-cert": str(certificates / "ca.pem")}
        if own:
            options |= {f"syslog-tls-{kind}": str(certificates / f"{own}.{end}") for kind, end in PAIR}
        with pytest.raises(StartFailed, match=r"alert|reset"):
            await bench.start("true", driver="syslog", options=options)
        assert isinstance(receiver.seen.get(timeout=20), ssl.SSLError)

    bench(story)


PAIR = (("cert", "pem"), ("key", "key"))


@pytest.fixture
def system_authorities(certificates):
    """The test's authority is the only one that the machine trusts."""
    folder = os.path.realpath(ssl.get_default_verify_paths().openssl_capath)
    subprocess.run(["mount", "--bind", certificates / "all", folder], check=True)
    yield
    subprocess.run(["umount", folder], check=True)


def test_fluentd_believes_the_machines_authorities(bench, serve, system_authorities):
    receiver = serve(kind=EncryptedForward)

    async def story(bench):
        options = {"fluentd-address": address(receiver, "tls"), "fluentd-request-ack": "true"}
        await bench.run("echo hello", driver="fluentd", options=options)
        assert receiver.take()[2]["log"] == "hello"

    bench(story)


def test_fluentd_verifies_its_target(bench, serve):
    receiver = serve(kind=EncryptedForward)

    async def story(bench):
        with pytest.raises(StartFailed, match=r"logging driver fluentd: .*certificate verify failed"):
            await bench.start("true", driver="fluentd", options={"fluentd-address": address(receiver, "tls")})

    bench(story)
