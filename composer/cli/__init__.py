"""The command line: one file per command, `main` wires the engine and maps errors to exit codes."""
