import pytest

from composer.model import ModelError, Project
from tests.plan import schema


def parse(service, **more):
    return Project.parse({"name": "demo", "services": {"web": {"image": "a", **service}}, **more})


def test_the_users_own_keys_are_left_out():
    project = parse({"x-own": 1, "build": {"context": "/", "x-own": 2}}, **{"x-top": 3})
    assert project.services["web"].build.context == "/"


def test_an_unknown_key_is_named_with_its_place():
    places = {("services", "web", "imagee"): "compose.yaml:3:5"}
    with pytest.raises(ModelError) as caught:
        Project.parse({"name": "a", "services": {"web": {"imagee": "b"}}}, where=lambda path: places.get(path, ""))
    assert str(caught.value) == "compose.yaml:3:5: services.web.imagee: no such key"


def test_every_wrong_value_is_named():
    with pytest.raises(ModelError) as caught:
        parse({"mem_limit": "lots", "scale": "x"})
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["services.web.mem_limit", "services.web.scale"]
    assert "give bytes" in lines[0]


def test_the_model_knows_every_key_of_the_specification():
    missing = set()
    for pattern in schema.keys():
        kind, _, key, *rest = pattern
        element = {"services": "Service", "models": "LanguageModel"}.get(kind, kind.removesuffix("s").title())
        module = __import__(f"composer.model.{kind.removesuffix('s')}", fromlist=[element])
        if not rest and key != "extends" and key not in getattr(module, element).model_fields:
            missing.add(".".join(pattern))
    assert not missing


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"networks": {"a": None}}, "networks", ["a"]),
        ({"depends_on": ["db"]}, "depends_on", ["db"]),
        ({"environment": ["A=1", "B"]}, "environment", ["A", "B"]),
        ({"ulimits": {"nofile": 5}}, "ulimits", ["nofile"]),
    ],
)
def test_short_forms(given, field, expected):
    assert list(getattr(parse(given).services["web"], field)) == expected
