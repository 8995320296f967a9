"""Output: live progress, log lines, tables, durations and sizes in docker's formats."""
