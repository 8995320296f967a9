"""docs/api.md lists for every operation of the API's description whether it works, differs or is refused."""

import re
from pathlib import Path

import pytest

from composer.serve.http.errors import HTTPError
from composer.serve.http.request import Request
from composer.serve.routes import ROUTES, find

ROW = re.compile(r"^\| `(GET|HEAD|POST|PUT|DELETE) (/\S+)` \| (.+) \|$", re.M)
DOCUMENT = (Path(__file__).parents[2] / "docs/api.md").read_text()
OPERATIONS = {(method, path): said for method, path, said in ROW.findall(DOCUMENT)}
SWARM = ("/swarm", "/services", "/nodes", "/secrets", "/configs", "/tasks")

DESCRIBED = """
GET /containers/json; POST /containers/create; GET /containers/{id}/json; GET /containers/{id}/top; GET /containers/{id}/logs
GET /containers/{id}/changes; GET /containers/{id}/export; GET /containers/{id}/stats; POST /containers/{id}/resize
POST /containers/{id}/start; POST /containers/{id}/stop; POST /containers/{id}/restart; POST /containers/{id}/kill
POST /containers/{id}/update; POST /containers/{id}/rename; POST /containers/{id}/pause; POST /containers/{id}/unpause
POST /containers/{id}/attach; GET /containers/{id}/attach/ws; POST /containers/{id}/wait; DELETE /containers/{id}
HEAD /containers/{id}/archive; GET /containers/{id}/archive; PUT /containers/{id}/archive; POST /containers/prune
GET /images/json; POST /build; POST /build/prune; POST /images/create; GET /images/{name}/json
GET /images/{name}/attestations; GET /images/{name}/history; POST /images/{name}/push; POST /images/{name}/tag
DELETE /images/{name}; GET /images/search; POST /images/prune; POST /auth; GET /info; GET /version; GET /_ping; HEAD /_ping
POST /commit; GET /events; GET /system/df; GET /images/{name}/get; GET /images/get; POST /images/load
POST /containers/{id}/exec; POST /exec/{id}/start; POST /exec/{id}/resize; GET /exec/{id}/json; GET /volumes
POST /volumes/create; GET /volumes/{name}; PUT /volumes/{name}; DELETE /volumes/{name}; POST /volumes/prune; GET /networks
GET /networks/{id}; DELETE /networks/{id}; POST /networks/create; POST /networks/{id}/connect; POST /networks/{id}/disconnect
POST /networks/prune; GET /plugins; GET /plugins/privileges; POST /plugins/pull; GET /plugins/{name}/json
DELETE /plugins/{name}; POST /plugins/{name}/enable; POST /plugins/{name}/disable; POST /plugins/{name}/upgrade
POST /plugins/create; POST /plugins/{name}/push; POST /plugins/{name}/set; GET /distribution/{name}/json; POST /session
"""
"""All operations of version 1.55 except those of a swarm, which are described together."""


def described():
    return {tuple(one.split()) for one in re.split(r"[;\n]", DESCRIBED) if one.strip()}


def test_every_operation_is_described():
    assert set(OPERATIONS) == described()
    for said in OPERATIONS.values():
        assert re.match(r"works|differs|refused|pulls|the classic builder", said), said


@pytest.mark.parametrize(("method", "path"), sorted(described()), ids=lambda value: value.replace("/", "-"))
def test_every_operation_has_a_handler(method, path):
    assert find(request(method, path))


@pytest.mark.parametrize("noun", SWARM)
def test_swarm_operations_have_a_handler(noun):
    assert f"`{noun}`" in DOCUMENT
    for method, path in (("GET", noun), ("GET", f"{noun}/x"), ("POST", f"{noun}/x/update"), ("DELETE", f"{noun}/x")):
        assert find(request(method, path)).startswith("swarm.")


def test_every_route_is_described():
    known = {(method, filled(path)) for method, path in described()} | {("POST", "/grpc")}
    for method, path, _ in ROUTES:
        assert (method, filled(path)) in known or path.startswith(SWARM), (method, path)


def test_unknown_routes_are_not_found():
    with pytest.raises(HTTPError) as error:
        find(request("GET", "/nonsense"))
    assert error.value.status == 404


def filled(path):
    return re.sub(r"\{\w+(:path)?\}", "x", path)


def request(method, path):
    return Request(method, filled(path), "", {}, lambda: None)
