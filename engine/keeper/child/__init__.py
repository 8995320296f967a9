"""A container's start and exec, one concern a file: steps.py has the order, kernel.py what they ask of the kernel."""
