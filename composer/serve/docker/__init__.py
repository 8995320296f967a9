"""Docker's Engine API: an operation is a function of (server, request, exchange); a file holds one kind of object."""
