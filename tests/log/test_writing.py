"""Logs contain what containers write, in either format, across rotation and compression."""

import json
import os
import time

import pytest

FORMATS = ("json-file", "local")


@pytest.mark.parametrize("driver", FORMATS)
def test_every_byte(bench, driver):
    r"""Quotes, control characters, UTF-8, no newline at the end, stderr."""

    async def story(bench):
        script = r"""printf 'a"b\\c\td\001\033[0m é\n\n'; echo error >&2; printf 'no newline'"""
        record = await bench.run(script, driver=driver)
        entries = bench.entries(record)
        assert "".join(e.text for e in entries if e.stream == "stdout") == 'a"b\\c\td\x01\x1b[0m é\n\nno newline'
        assert [e.text for e in entries if e.stream == "stderr"] == ["error\n"]
        assert all(abs(e.time / 1e9 - time.time()) < 60 for e in entries)

    bench(story)


@pytest.mark.parametrize("driver", FORMATS)
def test_long_lines_come_in_pieces(bench, driver):
    """Docker's 16 KiB; only the last piece has the newline."""

    async def story(bench):
        record = await bench.run("head -c 40000 /dev/zero | tr '\\0' x; echo; echo short", driver=driver)
        assert [len(e.text) for e in bench.entries(record)] == [16384, 16384, 40000 - 2 * 16384 + 1, 6]

    bench(story)


@pytest.mark.parametrize("driver", FORMATS)
@pytest.mark.parametrize("compress", ["false", "true"])
def test_rotation(bench, driver, compress):
    async def story(bench):
        options = {"max-size": "20k", "max-file": "3", "compress": compress}
        record = await bench.run("seq 1 9000", driver=driver, options=options)
        folder = bench.folder(record)
        if compress == "true":
            assert await bench.soon(lambda: all(n.endswith(".gz") for n in os.listdir(folder) if ".log." in n))
        names = sorted(name for name in os.listdir(folder) if ".log" in name)
        assert len(names) == 3, names
        assert all(os.path.getsize(f"{folder}/{name}") <= 22 * 1024 for name in names)
        lines = bench.text(record).split()
        assert lines == [str(n) for n in range(int(lines[0]), 9001)]
        for tail in (0, 1, 5, len(lines) - 1, len(lines), len(lines) + 7):
            assert bench.text(record, tail=tail).split() == lines[max(0, len(lines) - tail) :]

    bench(story)


def test_docker_can_read_it(bench):
    """The json-file format: one object per line, with the requested attributes."""

    async def story(bench):
        record = await bench.run(
            "echo one; echo two >&2",
            options={"labels": "app", "env": "REGION", "tag": "{{.Name}}"},
            labels={"app": "shop", "other": "x"},
            environment={"REGION": "eu"},
        )
        with open(f"{bench.folder(record)}/json.log") as file:
            first, second = sorted((json.loads(line) for line in file), key=lambda line: line["log"])
        assert first["attrs"] == {"app": "shop", "REGION": "eu", "tag": record.spec.name}
        assert (first["log"], first["stream"], second["stream"]) == ("one\n", "stdout", "stderr")

    bench(story)
