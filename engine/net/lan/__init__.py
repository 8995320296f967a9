"""Networks that are the host's own: containers have links of their own on the LAN of a parent link (macvlan, ipvlan)."""
