"""From files and the environment to trees with their variables replaced."""
