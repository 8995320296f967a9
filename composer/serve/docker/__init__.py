"""Docker's Engine API: each operation is a function of (server, request, exchange); there is one file per kind of
object."""
