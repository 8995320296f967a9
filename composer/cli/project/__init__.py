"""The project in commands: its desired state, its observed state, and changes to it."""
