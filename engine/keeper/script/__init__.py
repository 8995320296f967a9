"""A container's start as a list of system calls, for a process that is not Python (run.c). See script.py."""
