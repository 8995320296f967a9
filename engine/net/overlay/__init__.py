"""Networks between hosts: a bridge on each host, connected by VXLAN tunnels (RFC 7348)."""
