"""LAN networks: containers have their own links on the LAN of a parent link (macvlan, ipvlan)."""
