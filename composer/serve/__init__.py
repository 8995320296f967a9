"""`composer serve`: Docker's Engine API on a UNIX socket."""
