"""Services find each other by name, on the networks they share and on no other."""


def test_names(composer):
    composer("up", "-d")
    (address,) = composer.looked_up("client", "server")
    assert composer.fetch("client", address, "/name") == composer("exec", "-T", "server", "hostname").out
    assert composer.looked_up("client", "backend") == [address]
    assert composer.looked_up("client", f"{composer.name}-server-1") == [address]


def test_networks_are_isolated(composer):
    composer("up", "-d")
    assert composer.looked_up("stranger", "server") == []
    address = composer("exec", "-T", "server", "hostname", "-i").out.split()[0]
    assert composer("exec", "-T", "stranger", "nc", "-w", "1", address, "80", code=None).code


def test_replicas_answer_in_turn(composer):
    composer("up", "-d", "--scale", "server=3")
    assert len(composer.ps()["server"]) == 3
    answers = [tuple(composer.looked_up("client", "server")) for _ in range(8)]
    assert {len(set(addresses)) for addresses in answers} == {3}
    assert len({addresses[0] for addresses in answers}) > 1
    composer("up", "-d", "--scale", "server=1")
    assert len(composer.ps("-a")["server"]) == 1


def test_links_on_the_default_network(composer):
    """There, only linked containers can resolve a service's name."""
    composer.write(
        compose="""
        services:
          one: {image: busybox, command: [sleep, "1000"], init: true, network_mode: bridge}
          two: {image: busybox, command: [sleep, "1000"], init: true, network_mode: bridge, links: ["one:uno"]}
        """
    )
    composer("up", "-d")
    (address,) = composer.looked_up("two", "uno")
    assert composer.looked_up("two", "one-1") == [address]
    assert composer.looked_up("one", "two") == []
