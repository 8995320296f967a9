"""`exec -T`: data passes through our streams, and the container gets nothing else of them."""

import subprocess

import pytest


def execute(composer, script, **streams):
    words = composer.command("exec", "-T", "web", "sh", "-c", script)
    return subprocess.run(words, cwd=composer.folder, env=composer.environ, timeout=60, check=False, **streams)


@pytest.fixture
def up(composer):
    composer("up", "-d")
    return composer


def test_a_file_that_output_goes_to_cannot_be_read_or_shortened(up, tmp_path):
    path = tmp_path / "log"
    path.write_text("before\n")
    with open(path, "ab") as file:
        execute(up, ": > /proc/self/fd/1; readlink /proc/self/fd/1", stdin=subprocess.DEVNULL, stdout=file)
    lines = path.read_text().splitlines()
    assert lines[0] == "before" and lines[1].startswith("pipe:")


def test_a_file_that_input_comes_from_cannot_be_written_to(up, tmp_path):
    path = tmp_path / "input"
    path.write_bytes(b"x" * 3_000_000)
    with open(path, "rb") as file:
        done = execute(up, "wc -c; echo y > /proc/self/fd/0", stdin=file, capture_output=True)
    assert done.stdout == b"3000000\n"
    assert path.stat().st_size == 3_000_000


def test_all_of_a_large_output_is_in_the_file(up, tmp_path):
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        done = execute(up, "seq 1 300000; echo end >&2; exit 7", stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    assert done.returncode == 7
    assert (tmp_path / "out").read_text() == "".join(f"{number}\n" for number in range(1, 300_001))
    assert (tmp_path / "err").read_text() == "end\n"


def test_a_process_that_keeps_the_output_open_does_not_delay_the_end(up, tmp_path):
    with open(tmp_path / "out", "wb") as out:
        done = execute(up, "sleep 900 & echo started", stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
    assert done.returncode == 0 and (tmp_path / "out").read_text() == "started\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("web", "no-such"), 127),
        (("web", "/etc"), 126),
        (("-w", "/no-such", "web", "true"), 127),
        (("-u", "no-such", "web", "true"), 1),
        (("-d", "web", "no-such"), 1),
    ],
)
def test_exit_codes_of_what_cannot_start(up, words, code):
    assert up("exec", "-T", *words, code=code).err
