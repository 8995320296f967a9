"""Short time slices for threads that answer; children do not inherit them."""

import os
import subprocess
import threading

from engine.kernel import calls


def _length_of_turns():
    """Nanoseconds; None where the kernel does not report it."""
    try:
        with open("/proc/thread-self/sched") as file:
            return next((int(line.split()[-1]) for line in file if line.startswith("se.slice")), None)
    except OSError:
        return None


def test_a_child_has_the_usual_turns():
    found = {}

    def work():
        found["before"] = _length_of_turns()
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        calls.wake_promptly()
        found["after"] = _length_of_turns()
        found["nice"] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        found["child"] = subprocess.check_output(["cat", "/proc/self/sched"], text=True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found["nice"] == (0 if os.geteuid() == 0 else 5)
    if found["before"] is not None:
        assert found["after"] <= found["before"]
        (line,) = [line for line in found["child"].splitlines() if line.startswith("se.slice")]
        assert int(line.split()[-1]) == found["before"]
