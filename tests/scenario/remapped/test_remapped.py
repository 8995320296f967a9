"""A whole project in its own user namespace, set by the environment."""

import urllib.request


def test_a_project_in_a_user_namespace(composer):
    composer("up", "-d", environ={"COMPOSER_USERNS": "private"})
    first = {}
    for service in ("web", "client", "outside"):
        first[service] = composer("exec", "-T", service, "cat", "/proc/self/uid_map").out.split()
    assert first["web"] == first["client"]
    assert first["web"][0] == "0" and first["web"][2] == "65536"
    assert first["outside"] == ["0", "0", "4294967295"]
    address = composer("exec", "-T", "web", "hostname", "-i").out.strip()
    assert address in composer("exec", "-T", "client", "nslookup", "web").out
    assert composer("exec", "-T", "client", "wget", "-qO-", f"http://{address}/page").out == "made by 0\n"
    assert composer("exec", "-T", "client", "id", "-u").out == "1000\n"
    with urllib.request.urlopen("http://127.0.0.1:8088/page", timeout=5) as answer:
        assert answer.read() == b"made by 0\n"
    assert composer("exec", "-T", "outside", "stat", "-c", "%u:%g", "/data/page").out == "1000:1000\n"
    composer("restart", "-t", "0", "web")
    assert composer("exec", "-T", "web", "cat", "/proc/self/uid_map").out.split() == first["web"]
