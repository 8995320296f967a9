"""Trees that are deeper than the longest path."""

import os


def make_deep(fd, depth, name="d"):
    """Create `depth` nested directories below the descriptor `fd`, with a file called end in the last one."""
    fd = os.dup(fd)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=fd))
    os.close(fd)
