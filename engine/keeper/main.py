"""The keeper's process: `python -I -S main.py ROOT SOCKET [READY_FD]`.

A script is compiled at each start, modules are not, so this file only makes them importable.
"""

import gc
import os
import sys

if __name__ == "__main__":
    if os.fork():  # while there is little to copy
        os._exit(0)  # our starter need not reap us
    gc.disable()  # loaded modules stay; the keeper enables it again
    sys.path.insert(0, sys.argv[1])

from engine.keeper.keeper import Keeper
from engine.keeper.requests import handle

if __name__ == "__main__":
    Keeper(sys.argv[2], handle).run(int(sys.argv[3]) if len(sys.argv) > 3 else -1)
