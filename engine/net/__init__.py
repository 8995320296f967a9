"""Networks: bridges, veth pairs, addresses, packet filter rules, published ports, names."""
