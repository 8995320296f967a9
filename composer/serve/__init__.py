"""`composer serve`: Docker's Engine API on a UNIX socket, a view of this engine and a door to it."""
