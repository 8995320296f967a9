import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadReference
from engine.image.reference import parse

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("redis", "docker.io/library/redis:latest", "redis:latest"),
        ("redis:7", "docker.io/library/redis:7", "redis:7"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest", "bitnami/redis:latest"),
        ("docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
        ("index.docker.io/library/redis:7", "docker.io/library/redis:7", "redis:7"),
        ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        (f"redis@{DIGEST}", f"docker.io/library/redis@{DIGEST}", f"redis@{DIGEST}"),
        (f"redis:7@{DIGEST}", f"docker.io/library/redis:7@{DIGEST}", f"redis:7@{DIGEST}"),
        ("a__b/c-d--e.f", "docker.io/a__b/c-d--e.f:latest", "a__b/c-d--e.f:latest"),
        ("docker.io/library/x/y", "docker.io/library/x/y:latest", "library/x/y:latest"),
    ],
)
def test_short_forms_are_normalised(text, full, familiar):
    found = parse(text)
    assert str(found) == full
    assert found.familiar == familiar
    assert parse(full) == found
    assert parse(familiar) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "Redis",
        "a//b",
        "/a",
        "a/",
        "a:b:c",
        "redis:",
        "redis:" + "x" * 129,
        "redis:-x",
        "a..b/c",
        "redis@sha256:12",
        f"redis@{DIGEST.upper()}",
        "a" * 64,
        "x/" * 130 + "x",
        "host:port/x",
        "../x",
        "a b",
        "redis:7\n",
        "-a/b",
    ],
)
def test_invalid_references_are_refused(text):
    with pytest.raises(BadReference):
        parse(text)


def test_upper_case_names_get_a_hint():
    with pytest.raises(BadReference, match=r"lower case: (library/)?myapp"):
        parse("MyApp")


@given(st.text(alphabet="aB0._-/:@[]", max_size=40))
def test_accepted_references_round_trip(text):
    try:
        found = parse(text)
    except BadReference:
        return
    assert parse(str(found)) == found
    assert parse(found.familiar) == found
