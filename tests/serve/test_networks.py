"""Networks that a running container joins and leaves through the Docker API."""


def test_connect_and_disconnect(api):
    network = api("POST", "/networks/create", {"Name": "joined"})["Id"]
    body = {"Image": "busybox", "Cmd": ["sleep", "100"], "NetworkingConfig": {"EndpointsConfig": {}}}
    other = api("POST", "/networks/create", {"Name": "first"})["Id"]
    one = api("POST", "/containers/create", {**body, "HostConfig": {"NetworkMode": "first"}})["Id"]
    try:
        assert api.raw("POST", f"/containers/{one}/start")[0] == 204
        asked = {"Container": one, "EndpointConfig": {"Aliases": ["known"]}}
        assert api.raw("POST", f"/networks/{network}/connect", asked)[0] == 200
        found = api.get(f"/containers/{one}/json")["NetworkSettings"]["Networks"]
        assert set(found) == {"first", "joined"} and found["joined"]["IPAddress"]
        assert "known" in found["joined"]["Aliases"]
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
