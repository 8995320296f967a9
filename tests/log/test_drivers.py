"""Every remote driver against a real receiver, and `logs` from the local copy."""

import os
import re
import subprocess
import time

import pytest

from engine.errors import InvalidSpec, StartFailed, Unsupported
from tests.log.receivers import Datagrams, Deaf, DeafForward, Forward, Journal, Receiver, UnixDatagrams, UnixStream

STAMP = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
ZONE = r"(Z|[+-]\d\d:\d\d)"
HOST = re.escape(os.uname().nodename)


@pytest.mark.parametrize(
    ("scheme", "kind"), [("udp", Datagrams), ("tcp", Receiver), ("unixgram", UnixDatagrams), ("unix", UnixStream)]
)
def test_syslog(bench, receive, tmp_path, scheme, kind):
    where = str(tmp_path / "log") if scheme.startswith("unix") else None
    receiver = receive(kind, where)
    address = f"{scheme}://{where}" if where else f"{scheme}://127.0.0.1:{receiver.port}"

    async def story(bench):
        options = {"syslog-address": address, "syslog-facility": "local3", "tag": "{{.Name}}/{{.ID}}"}
        record = await bench.run("echo hello; sleep 0.1; echo wrong >&2", driver="syslog", options=options)
        tag = f"{record.spec.name}/{record.id[:12]}"
        first, second = receiver.take().decode(), receiver.take().decode()
        assert re.fullmatch(rf"<{19 * 8 + 6}>{STAMP} {tag}\[\d+\]: hello\n", first)
        assert re.fullmatch(rf"<{19 * 8 + 3}>{STAMP} {tag}\[\d+\]: wrong\n", second)
        assert bench.text(record) == "hello\nwrong\n"

    bench(story)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rfc3164", rf"<30>{STAMP} {HOST} ID\[\d+\]: hello\n"),
        ("rfc5424", rf"<30>1 {ISO}{ZONE} {HOST} ID \d+ ID - hello\n"),
        ("rfc5424micro", rf"<30>1 {ISO}\.\d{{6}}{ZONE} {HOST} ID \d+ ID - hello\n"),
    ],
)
def test_syslog_formats(bench, receive, name, expected):
    receiver = receive(Datagrams)

    async def story(bench):
        options = {"syslog-address": f"udp://127.0.0.1:{receiver.port}", "syslog-format": name}
        record = await bench.run("echo hello", driver="syslog", options=options)
        assert re.fullmatch(expected.replace("ID", record.id[:12]), receiver.take().decode())

    bench(story)


@pytest.fixture
def journal(receive):
    """Our own journal in place of the real one."""
    folder = "/run/systemd"
    made = not os.path.isdir(folder)
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    os.mkdir(f"{folder}/journal")
    yield receive(Journal, f"{folder}/journal/socket")
    subprocess.run(["umount", "-l", folder], check=True)
    if made:
        os.rmdir(folder)


def test_journald(journal, bench):
    async def story(bench):
        record = await bench.run(
            "echo hello; sleep 0.1; echo wrong >&2; sleep 0.1; head -c 20000 /dev/zero | tr '\\0' x; echo",
            driver="journald",
            options={"labels": "app.name"},
            labels={"app.name": "shop"},
        )
        first, second, third, fourth = (journal.take() for _ in range(4))
        assert first.items() >= {
            "MESSAGE": "hello", "PRIORITY": "6", "CONTAINER_ID": record.id[:12], "CONTAINER_ID_FULL": record.id,
            "CONTAINER_NAME": record.spec.name, "CONTAINER_TAG": record.id[:12], "SYSLOG_IDENTIFIER": record.id[:12],
            "APP_NAME": "shop",
        }.items()  # fmt: skip
        assert re.fullmatch(rf"{ISO}\.\d{{9}}Z", first["SYSLOG_TIMESTAMP"])
        assert (second["MESSAGE"], second["PRIORITY"]) == ("wrong", "3")
        assert len(third["MESSAGE"]) == 16384 and third["CONTAINER_PARTIAL_MESSAGE"] == "true"
        assert len(fourth["MESSAGE"]) == 20000 - 16384 and fourth["CONTAINER_PARTIAL_LAST"] == "true"

    bench(story)


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_fluentd(bench, receive, tmp_path, transport):
    where = str(tmp_path / "forward") if transport == "unix" else None
    receiver = receive(type("Unix", (Forward,), {"family": UnixStream.family}) if where else Forward, where)
    address = f"unix://{where}" if where else f"127.0.0.1:{receiver.port}"

    async def story(bench):
        record = await bench.run(
            "echo hello; sleep 0.1; echo wrong >&2",
            driver="fluentd",
            options={
                "fluentd-address": address, "fluentd-request-ack": "true", "fluentd-sub-second-precision": "true",
                "tag": "docker.{{.Name}}", "env": "REGION",
            },
            environment={"REGION": "eu"},
        )  # fmt: skip
        tag, (seconds, nanoseconds), first = receiver.take()
        assert tag == f"docker.{record.spec.name}" and abs(seconds - time.time()) < 60 and nanoseconds < 10**9
        assert first == {
            "container_id": record.id, "container_name": f"/{record.spec.name}", "source": "stdout", "log": "hello",
            "REGION": "eu",
        }  # fmt: skip
        assert receiver.take()[2]["source"] == "stderr"

    bench(story)


def test_a_target_that_goes_and_comes_back(bench, receive):
    """Nothing is lost, the container does not notice, and `logs` keeps working."""
    receiver = receive(Forward)

    async def story(bench):
        options = {
            "fluentd-address": f"127.0.0.1:{receiver.port}",
            "fluentd-request-ack": "true",
            "fluentd-retry-wait": "50ms",
        }
        record = await bench.start("echo 1; read x < /go; seq 2 5000", driver="fluentd", options=options)
        assert receiver.take()[2]["log"] == "1"
        receiver.stop()
        await bench.let_go(record)
        await bench.end(record)
        assert bench.text(record).split() == [str(n) for n in range(1, 5001)]
        receiver.listen()
        numbers = [int(receiver.take()[2]["log"]) for _ in range(4999)]
        assert numbers == list(range(2, 5001))

    bench(story)


def test_unacknowledged_batch_is_resent(bench, receive):
    receiver = receive(Forward)
    receiver.silent = True

    async def story(bench):
        options = {
            "fluentd-address": f"127.0.0.1:{receiver.port}", "fluentd-request-ack": "true",
            "fluentd-retry-wait": "50ms", "fluentd-read-timeout": "200ms",
        }  # fmt: skip
        await bench.run("echo hello", driver="fluentd", options=options)
        receiver.silent = False
        assert receiver.take()[2]["log"] == "hello"

    bench(story)


def test_a_slow_target_and_a_small_spool(bench, receive):
    """The target learns how much rotation removed unsent; the container runs at full speed."""
    receiver = receive(Forward)
    receiver.stop()

    async def story(bench):
        options = {
            "fluentd-address": f"127.0.0.1:{receiver.port}", "fluentd-async": "true", "fluentd-retry-wait": "50ms",
            "cache-max-size": "20k", "cache-max-file": "2",
        }  # fmt: skip
        record = await bench.start("seq 1 100000; read x < /go; echo end", driver="fluentd", options=options)
        while "100000\n" not in bench.text(record, tail=1):
            await bench.pause()
        receiver.listen()
        seen = [receiver.take()[2]["log"]]
        while seen[-1] != "100000":
            seen.append(receiver.take()[2]["log"])
        assert any(
            re.fullmatch(r"composer: \d+ files of output were rotated away before they could be sent", s) for s in seen
        )
        await bench.let_go(record)
        assert receiver.take()[2]["log"] == "end"

    bench(story)


@pytest.mark.parametrize(
    ("driver", "kind", "options"),
    [
        ("syslog", Deaf, {"mode": "blocking"}),
        ("fluentd", DeafForward, {"mode": "non-blocking", "max-buffer-size": "64k"}),
    ],
)
def test_target_that_never_reads(bench, receive, driver, kind, options):
    """In either mode the container does not wait for it, and no line is lost: more than the sockets can buffer."""
    receiver = receive(kind)

    async def story(bench):
        where = {f"{driver}-address": f"tcp://127.0.0.1:{receiver.port}"}
        record = await bench.run("seq 1 200000", driver=driver, options=where | options)
        assert receiver.messages.empty()
        numbers = [str(number) for number in range(1, 200001)]
        assert bench.text(record).split() == numbers
        receiver.hearing.set()
        messages = [receiver.take() for _ in numbers]
        sent = [m.split()[-1].decode() if driver == "syslog" else m[2]["log"] for m in messages]
        assert sent == numbers

    bench(story)


def test_a_killed_shipper_is_replaced(bench, receive):
    receiver = receive(Receiver)

    async def story(bench):
        options = {"syslog-address": f"tcp://127.0.0.1:{receiver.port}"}
        record = await bench.start("echo one; read x < /go; echo two", driver="syslog", options=options)
        assert receiver.take().endswith(b": one\n")
        bench.kill_shipper()
        await bench.let_go(record)
        while not (line := receiver.take()).endswith(b": two\n"):
            assert line.endswith(b": one\n")  # killed before it could record that it had sent it

    bench(story)


REFUSED = [
    ("json-file", {"nope": "1"}, "unknown log opt 'nope' for json-file log driver"),
    ("local", {"tag": "x"}, "unknown log opt 'tag' for local log driver"),
    ("none", {"max-size": "1m"}, "invalid logging opts for driver none"),
    ("json-file", {"max-size": "much"}, "invalid size: 'much'"),
    ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
    ("json-file", {"mode": "x"}, "logging mode not supported: x"),
    ("fluentd", {"mode": "Non-Blocking"}, "logging mode not supported: Non-Blocking"),
    ("json-file", {"mode": "non-blocking", "max-buffer-size": "much"}, "max-buffer-size: invalid size: 'much'"),
    ("local", {"mode": "non-blocking", "max-buffer-size": "-1"}, "max-buffer-size: invalid size: '-1'"),
    ("syslog", {"mode": "non-blocking", "max-buffer-size": "0"}, "max-buffer-size: invalid size: '0'"),
    (
        "json-file",
        {"mode": "blocking", "max-buffer-size": "1m"},
        "max-buffer-size is only supported with mode=non-blocking",
    ),
    ("json-file", {"max-buffer-size": "1m"}, "max-buffer-size is only supported with mode=non-blocking"),
    ("json-file", {"tag": "{{.Nope}}"}, "can't evaluate field Nope"),
    ("json-file", {"tag": "{{.Name"}, "unclosed action"),
    ("json-file", {"labels-regex": "("}, "is not a regular expression"),
    ("syslog", {"syslog-address": "foo://x"}, "unsupported scheme: 'foo'"),
    ("syslog", {"syslog-facility": "x"}, "invalid syslog facility 'x'"),
    ("syslog", {"syslog-format": "x"}, "invalid syslog format 'x'"),
    ("fluentd", {"fluentd-async": "perhaps"}, "'perhaps' is neither true nor false"),
    ("gelf", {}, "log driver 'gelf' is not supported"),
]


@pytest.mark.parametrize(("driver", "options", "words"), REFUSED)
def test_refused_at_creation(bench, driver, options, words):
    async def story(bench):
        with pytest.raises((InvalidSpec, Unsupported), match=re.escape(words)):
            await bench.start("true", driver=driver, options=options)

    bench(story)


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("journald", {}, "journald is not enabled on this host"),
        ("syslog", {"syslog-address": "tcp://127.0.0.1:1"}, "connect to tcp://127.0.0.1:1: Connection refused"),
        ("fluentd", {}, "connect to tcp://127.0.0.1:24224: Connection refused"),
    ],
)
def test_start_without_target_fails(bench, driver, options, words):
    async def story(bench):
        with pytest.raises(StartFailed, match=re.escape(words)):
            await bench.start("true", driver=driver, options=options)

    bench(story)


@pytest.mark.parametrize(("driver", "options"), [("none", {}), ("local", {"cache-disabled": "true"})])
def test_not_readable(bench, driver, options):
    async def story(bench):
        record = await bench.run("echo hello", driver=driver, options=options)
        with pytest.raises(Unsupported, match="configured logging driver does not support reading"):
            bench.text(record)

    bench(story)
