"""Our delegated cgroup becomes free once the process that started us has exited, however long that takes."""

import os
import subprocess
import threading

from engine.rootless.cgroup import _await_end


def test_delegation_waits_only_for_the_parent(tmp_path):
    reading, writing = os.pipe()
    child = os.fork()  # it has our command line, as the first half of a double fork has
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    with subprocess.Popen(["sleep", "1000"]) as other:
        (tmp_path / "cgroup.procs").write_text(f"{child}\n{other.pid}\n")
        waiting = threading.Thread(target=_await_end, args=[str(tmp_path)])
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        os.close(writing)
        waiting.join(60)
        assert not waiting.is_alive()
        assert os.waitpid(child, 0) == (child, 0)
        other.kill()
