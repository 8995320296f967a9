"""Sending lines elsewhere: a small process of its own for each group that has a container with a remote log driver.

    container ─FIFO─▶ keeper ─▶ local.log, local.log.1 … (the spool) ─▶ shipper ─▶ syslog, journald, fluentd
                        └── stdin: which containers there are, when one has ended, which files to compress

The keeper starts it when it is needed and again when it dies; it goes when the keeper does. A target that is slow or gone
fills the spool, whose size is bounded like any log's; what rotation took away unsent is told at the target. Each container's
place is kept in `shipped`, so that a restart sends at most the last batch twice. Standard library only.
"""
