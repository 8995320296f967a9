"""Services find each other by name, on the networks they share and on no other."""


def fetch(composer, service, url, code=0):
    return composer("exec", "-T", service, "wget", "-T", "3", "-qO-", url, code=code).out


def test_names(composer):
    composer("up", "-d")
    by_service = fetch(composer, "client", "http://server/name")
    assert by_service
    assert fetch(composer, "client", "http://backend/name") == by_service
    assert fetch(composer, "client", f"http://{composer.name}-server-1/name") == by_service


def test_networks_are_apart(composer):
    composer("up", "-d")
    done = composer("exec", "-T", "stranger", "wget", "-T", "3", "-qO-", "http://server/name", code=None)
    assert done.code
    address = composer("exec", "-T", "server", "hostname", "-i").out.split()[0]
    done = composer("exec", "-T", "stranger", "wget", "-T", "1", "-qO-", f"http://{address}/name", code=None)
    assert done.code


def test_scale_answers_in_turn(composer):
    composer("up", "-d", "--scale", "server=3")
    assert len(composer.ps()["server"]) == 3
    loop = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do wget -T 3 -qO- http://server/name; done"
    answered = composer("exec", "-T", "client", "sh", "-c", loop).out.split()
    assert len(set(answered)) == 3
    looked_up = composer("exec", "-T", "client", "nslookup", "server", code=None).out
    assert looked_up.count("Address") >= 3
    composer("up", "-d", "--scale", "server=1")
    assert len(composer.ps("-a")["server"]) == 1
