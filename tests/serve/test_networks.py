"""Networks that a running container joins and leaves through the Docker API."""

import subprocess

from tests.serve.conftest import serving


def test_connect_and_disconnect(api):
    network = api("POST", "/networks/create", {"Name": "joined"})["Id"]
    body = {
        "Image": "busybox",
        "Hostname": "host-a",
        "Cmd": ["sleep", "100"],
        "NetworkingConfig": {"EndpointsConfig": {}},
    }
    other = api("POST", "/networks/create", {"Name": "first"})["Id"]
    one = api("POST", "/containers/create", {**body, "HostConfig": {"NetworkMode": "first"}})["Id"]
    try:
        assert api.raw("POST", f"/containers/{one}/start")[0] == 204
        asked = {"Container": one, "EndpointConfig": {"Aliases": ["known"]}}
        assert api.raw("POST", f"/networks/{network}/connect", asked)[0] == 200
        found = api.get(f"/containers/{one}/json")["NetworkSettings"]["Networks"]
        assert set(found) == {"first", "joined"} and found["joined"]["IPAddress"]
        assert "known" in found["joined"]["Aliases"]
        assert {"known", one[:12], "host-a"} < set(found["joined"]["DNSNames"])
        assert one in api.get("/networks/joined")["Containers"]
        assert api.refused("POST", "/networks/joined/connect", {"Container": one})[0] == 403
        assert api.raw("POST", "/networks/joined/disconnect", {"Container": one})[0] == 200
        assert set(api.get(f"/containers/{one}/json")["NetworkSettings"]["Networks"]) == {"first"}
        assert api.refused("POST", "/networks/joined/disconnect", {"Container": one})[0] == 403
        assert api.refused("POST", "/networks/joined/connect", {"Container": "nobody"})[0] == 404
        assert api.refused("POST", "/networks/joined/connect", {})[0] == 400
    finally:
        api.raw("DELETE", f"/containers/{one}?force=1")
        for name in (network, other):
            api.raw("DELETE", f"/networks/{name}")


def test_the_gateway_of_an_unused_bridge_is_there_while_clients_know_it(roots):
    def addresses():
        return subprocess.check_output(["ip", "-o", "addr"], text=True)

    with serving(roots) as api:
        gateway = api.get("/networks/bridge")["IPAM"]["Config"][0]["Gateway"]
        assert f" {gateway}/" in addresses()
        one = api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})["Id"]
        api("POST", f"/containers/{one}/start")
        api("POST", f"/containers/{one}/wait")
        api("DELETE", f"/containers/{one}?force=1")
        assert f" {gateway}/" in addresses()
        assert api.refused("POST", "/networks/create", {"Name": "bridge"})[0] == 403
    assert f" {gateway}/" not in addresses()


def test_networks_of_the_endpoints_replace_the_default_one(api):
    api("POST", "/networks/create", {"Name": "only"})
    ends = {"EndpointsConfig": {"only": {"Aliases": ["one"]}}}
    one = api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "100"], "NetworkingConfig": ends})[
        "Id"
    ]
    try:
        api("POST", f"/containers/{one}/start")
        assert set(api.get(f"/containers/{one}/json")["NetworkSettings"]["Networks"]) == {"only"}
        api("POST", "/networks/bridge/connect", {"Container": one})
        assert set(api.get(f"/containers/{one}/json")["NetworkSettings"]["Networks"]) == {"only", "bridge"}
    finally:
        api("DELETE", f"/containers/{one}?force=1")
        api("DELETE", "/networks/only")
