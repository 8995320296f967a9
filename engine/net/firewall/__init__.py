"""The packet filter: our table in nf_tables, or chains of iptables where the host has only that."""
