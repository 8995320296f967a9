"""Networks between hosts: a bridge on each, and a VXLAN tunnel (RFC 7348) to the others'."""
