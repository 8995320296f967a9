"""A container's start and exec, one concern per file. steps.py has the order, kernel.py the interface to the kernel."""
