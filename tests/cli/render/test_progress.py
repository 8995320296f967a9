"""Live progress on a real pseudo-terminal, and the output without one."""

from __future__ import annotations

import fcntl
import importlib.util
import io
import json
import os
import re
import struct
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from composer.cli.errors import UsageError
from composer.cli.render.progress import Progress, State
from composer.cli.render.progress_mode import progress_for
from composer.cli.render.terminal import TtyProgress


def screen_class() -> Any:
    spec = importlib.util.spec_from_file_location("screen", Path(__file__).with_name("screen.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Screen


Screen = screen_class()


class Terminal:
    """A pseudo-terminal of a given size; `written` is the output sent to it."""

    def __init__(self, columns: int, rows: int = 24) -> None:
        self.master, slave = os.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.stream = os.fdopen(slave, "w")
        self.resize(columns, rows)
        os.set_blocking(self.master, False)

    def resize(self, columns: int, rows: int = 24) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def written(self) -> str:
        data = b""
        try:
            while piece := os.read(self.master, 65536):
                data += piece
        except BlockingIOError:
            pass
        return data.decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self.master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(80)
    yield terminal
    terminal.close()


def untimed(text: str) -> str:
    """Without the seconds, which differ from run to run, and with one spinner."""
    return re.sub(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", "~", re.sub(r" +\d+\.\ds$", "", text, flags=re.MULTILINE))


def test_each_step_keeps_its_line(terminal: Terminal) -> None:
    with TtyProgress(terminal.stream, colour=True) as progress:
        progress.update("Network shop_default", "Creating")
        progress.update("Network shop_default", "Created", State.DONE)
        progress.update("Container shop-web-1", "Starting")
        progress._animate_once()
        middle = Screen(80).feed(written := terminal.written())
        assert untimed(middle.text) == (
            "[+] Running 1/2\n ✔ Network shop_default Created\n ~ Container shop-web-1 Starting"
        )
        progress.update("Container shop-web-1", "Started", State.DONE)
    screen = Screen(80).feed(written + terminal.written())
    assert untimed(screen.text) == ("[+] Running 2/2\n ✔ Network shop_default Created\n ✔ Container shop-web-1 Started")
    assert screen.text.splitlines()[1].endswith("0.0s")


def test_notes_stand_above_the_steps(terminal: Terminal) -> None:
    with TtyProgress(terminal.stream, colour=False) as progress:
        progress.update("Container a", "Starting")
        progress.note("a warning")
        progress.update("Container a", "Error", State.ERROR, detail="no such image\nand more")
    text = terminal.written()
    assert "\x1b[3" not in text
    assert untimed(Screen(80).feed(text).text) == "a warning\n[+] Running 1/1\n ✘ Container a Error no such image"


def test_narrower_window_is_redrawn_completely(terminal: Terminal) -> None:
    screen = Screen(80)
    with TtyProgress(terminal.stream, colour=True) as progress:
        for name in ("Container shop-database-1", "Container shop-web-1"):
            progress.update(name, "Starting")
        progress._animate_once()
        screen.feed(terminal.written())
        terminal.resize(30)
        screen.resize(30)
        for name in ("Container shop-database-1", "Container shop-web-1"):
            progress.update(name, "Started", State.DONE)
    screen.feed(terminal.written())
    assert screen.text.count("[+]") == 1
    lines = screen.text.splitlines()
    assert len(lines) == 3 and all(len(line) <= 30 for line in lines)


def test_more_steps_than_rows(terminal: Terminal) -> None:
    terminal.resize(80, 6)
    with TtyProgress(terminal.stream, colour=False) as progress:
        for number in range(20):
            progress.update(f"Container c-{number}", "Started", State.DONE)
        progress.update("Container last", "Starting")
    text = Screen(80).feed(terminal.written()).text
    assert "Container last" in text and "[+] Running 20/21" in text and len(text.splitlines()) == 5


def event(step: int, name: str, status: str, text: str = "") -> dict[str, object]:
    return {"step": step, "name": name, "status": status, "text": text, "line": f"#{step} {status} {text}"}


def test_steps_of_a_build(terminal: Terminal) -> None:
    """Each with its time, and the last lines of what a running one writes."""
    terminal.resize(60, 12)
    with TtyProgress(terminal.stream, colour=False) as progress:
        progress.update("Image a", "Building")
        for number in range(3):
            progress.build("Image a", event(number, f"[{number}/3] COPY {number}", "running"))
            progress.build("Image a", event(number, f"[{number}/3] COPY {number}", ("done", "cached", "done")[number]))
        progress.build("Image a", event(3, "[3/3] RUN make", "running"))
        for line in range(9):
            progress.build("Image a", event(3, "[3/3] RUN make", "output", f"line \x1b[31m{line}"))
        progress._animate_once()
        lines = Screen(60).feed(terminal.written()).text.splitlines()
        assert len(lines) <= 11 and all(len(line) <= 60 for line in lines)
        assert lines[1].split()[1:] == ["Image", "a", "Building", "0.0s"]
        assert lines[-7].startswith(" => [3/3] RUN make ") and lines[-7].endswith("0.0s")
        assert lines[-6:] == [f" => => # line {line}" for line in range(3, 9)]
        assert [line.partition("COPY")[0] for line in lines[2:-7]] == [" => CACHED [1/3] ", " => [2/3] "]
        progress.build("Image a", event(3, "[3/3] RUN make", "error"))
        progress.update("Image a", "Error", State.ERROR)
    shown = Screen(60).feed(terminal.written()).text
    assert " => ERROR [3/3] RUN make" in shown and "# line" not in shown
    assert " => [0/3] COPY 0" in shown


def test_a_build_in_plain_lines() -> None:
    stream = io.StringIO()
    progress = progress_for("plain", "auto", stream, {})
    progress.build("Image a", event(1, "[1/1] RUN x", "output", "out"), prefix="web ")
    progress_for("quiet", "auto", stream, {}).build("Image a", event(1, "x", "done"))
    assert stream.getvalue() == "web #1 output out\n"


def test_lines_of_builds_may_go_elsewhere():
    stream, log = io.StringIO(), io.StringIO()
    progress = progress_for("plain", "auto", stream, {}, log=log)
    progress.update("Image a", "Building")
    progress.build("Image a", {"line": "#1 DONE 0.0s"}, prefix="web ")
    assert (stream.getvalue(), log.getvalue()) == (" Image a Building\n", "web #1 DONE 0.0s\n")


def test_transfers_are_summed(terminal: Terminal) -> None:
    with TtyProgress(terminal.stream, colour=False) as progress:
        progress.update("web", "Pulling")
        progress.transfer("web", "layer1", 500_000, 1_000_000)
        progress.transfer("web", "layer2", 1_000_000, 1_000_000)
    assert "[⣤⣿] 1.5MB / 2MB Pulling" in Screen(80).feed(terminal.written()).text


def sink(mode: str, **options: Any) -> tuple[Progress, io.StringIO]:
    stream = io.StringIO()
    return progress_for(mode, "auto", stream, {}, **options), stream


def story(progress: Progress) -> None:
    with progress:
        progress.update("Network n", "Creating")
        progress.update("Network n", "Created", State.DONE)
        progress.update("Container a", "Waiting")
        progress.transfer("web", "l", 1, 2)
        progress.note("text")
        progress.update("Container a", "Error", State.ERROR, detail="why")


def test_plain_lines_for_each_change() -> None:
    progress, stream = sink("auto")
    story(progress)
    assert (
        stream.getvalue()
        == " Network n Creating\n Network n Created\n Container a Waiting\ntext\n Container a Error why\n"
    )


def test_dry_run_marks_every_line() -> None:
    progress, stream = sink("plain", dry_run=True)
    story(progress)
    assert stream.getvalue().startswith(" DRY-RUN MODE -  Network n Creating\n")


def test_json_and_quiet() -> None:
    progress, stream = sink("json")
    story(progress)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert events[0] == {"id": "Network n", "status": "Working", "text": "Creating"}
    assert events[-1] == {"id": "Container a", "status": "Error", "text": "Error", "details": "why"}
    assert '{"id":"Network n","status":"Done","text":"Created"}' in stream.getvalue(), "as Docker Compose 5 writes it"
    progress, stream = sink("json")
    progress.note("warning: mind")
    progress.transfer("Image x", "layer", 5, 10)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"level": "warning", "msg": "mind"},
        {"id": "layer", "parent_id": "Image x", "status": "Working", "current": 5, "total": 10, "percent": 50},
    ]
    progress, stream = sink("quiet")
    story(progress)
    assert stream.getvalue() == ""


def test_only_programs_get_the_cause_with_the_failed_step() -> None:
    shown = {}
    for mode in ("plain", "json"):
        progress, stream = sink(mode)
        progress.fail("Image a", "no such host")
        shown[mode] = stream.getvalue()
    assert shown["plain"] == " Image a Error\n"
    assert json.loads(shown["json"]) == {
        "id": "Image a", "status": "Error", "text": "Error", "details": "no such host",
    }  # fmt: skip


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match='unsupported --progress value "fancy"'):
        sink("fancy")
