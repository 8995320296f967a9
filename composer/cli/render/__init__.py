"""What the reader sees: live progress, log lines, tables, durations and sizes as docker prints them."""
