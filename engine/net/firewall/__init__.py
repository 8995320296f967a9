"""The packet filter: our table in nf_tables, or chains of legacy iptables if the host has only that."""
