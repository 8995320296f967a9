"""What runs in the forked child before the user's program: one step a file, in the order of setup.py."""
