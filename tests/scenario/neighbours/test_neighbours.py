"""Two projects on one network: they reach each other by name."""


def test_projects_on_a_common_network_know_each_other(composer):
    composer("up", "-d")
    second = f"{composer.name}b"
    composer.names.add(second)

    def other(*words):
        return composer("-p", second, "-f", "other.yaml", *words, environ={"FIRST": composer.name})

    other("up", "-d")
    for name in ("app", f"{composer.name}-app-1", "backend"):
        assert "Address" in other("exec", "-T", "proxy", "nslookup", name).out
    composer("exec", "-T", "app", "ping", "-c", "1", "-W", "2", "proxy")
    other("down", "-t", "0")
    composer("exec", "-T", "app", "nslookup", "proxy", code=1)
