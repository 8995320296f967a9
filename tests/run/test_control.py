"""One supervisor at a time; it knows whether the last one exited cleanly."""

import os
import shutil
import subprocess
import sys

import pytest

from composer.run.control import Control
from composer.run.protocol import End, Failure, Frames, Step, event_of, frame


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "p" / "supervisor.sock")


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import os; from composer.run.control import Control; {code}"],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    return done.stdout


def test_second_supervisor_is_refused(path):
    own = Control.open(path)
    assert own.clean
    assert run(f"print(Control.open({path!r}))") == "None\n"
    own.close()


@pytest.mark.parametrize("end", ["os._exit(9)", "own.close(); os._exit(9)"], ids=["killed", "killed while it left"])
def test_unclean_end_is_noticed(path, end):
    run(f"own = Control.open({path!r}); {end}")
    assert len(os.listdir(os.path.dirname(path))) == 2
    own = Control.open(path)
    assert not own.clean
    own.close()


def test_folder_is_removed_last(path):
    own = Control.open(path)
    os.makedirs(f"{os.path.dirname(path)}/container")
    own.close()
    own.tidy_up(whole=True)
    assert not os.path.exists(os.path.dirname(path))


def test_a_keepers_files_stay(path):
    own = Control.open(path)
    open(f"{os.path.dirname(path)}/keeper.sock", "w").close()
    own.close()
    own.tidy_up(whole=False)
    assert os.listdir(os.path.dirname(path)) == ["keeper.sock"]


def test_folder_of_successor_is_kept(path):
    own = Control.open(path)
    own.close()
    shutil.rmtree(os.path.dirname(path))
    successor = Control.open(path)
    own.tidy_up(whole=True)
    assert sorted(os.listdir(os.path.dirname(path))) == ["supervisor.lock", "supervisor.sock"]
    successor.close()


def test_frames_in_pieces():
    events = [Step(kind="k", name="n", state="done"), End(failures=(Failure(message="é" * 100),), last=True)]
    data = b"".join(map(frame, events))
    frames = Frames()
    found = [event_of(one) for index in range(len(data)) for one in frames.feed(data[index : index + 1])]
    assert found == events
    with pytest.raises(ValueError, match="frame of"):
        list(Frames().feed(b"\xff\xff\xff\xff"))
