"""Names in the kernel that several files must know. Constants only: checks that every `up` makes import this file."""

BRIDGE_PREFIX = "cmp-"
"""Our bridges, unless the user chose a name."""

HARDWARE_PREFIX = "02:42:"
"""Hardware addresses that we choose, as Docker chooses them: locally administered, and with four bytes that follow."""

TABLE_PREFIX = "composer-"
"""Our nftables tables."""

FIREWALLD = "firewalld"
"""firewalld's program and its table."""

IPTABLES_TABLE, IPTABLES_CHAIN = "filter", "FORWARD"
"""The chain in which Docker, ufw and administrators drop forwarded packets."""
