"""The shipper: a small process for each group that has a container with a remote log driver. It sends lines to the target.

    container ─FIFO─▶ keeper ─▶ local.log, local.log.1 … (the spool) ─▶ shipper ─▶ syslog, journald, fluentd
                        └── stdin: which containers there are, when one has ended, which files to compress

The keeper starts it when needed, and again when it dies; it exits with the keeper. While a target is slow or unreachable, the
spool fills up to its limit, which is that of any log; the target gets a message about lines that were rotated away unsent. The
position of each container is kept in `shipped`, so a restart repeats at most the last batch. Standard library only.
"""
