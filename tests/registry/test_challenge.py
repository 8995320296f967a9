import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.registry.challenge import Challenge, parse


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ('Basic realm="a \\"quoted\\" name"', [Challenge("basic", {"realm": 'a "quoted" name'})]),
        ("basic REALM=x", [Challenge("basic", {"realm": "x"})]),
        (
            'Negotiate, Basic realm="x", Bearer realm="y" , service=z',
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": "x"}),
                Challenge("bearer", {"realm": "y", "service": "z"}),
            ],
        ),
        ("Bearer realm=https://x/token", [Challenge("bearer", {"realm": "https://x/token"})]),
        ("", []),
        ('"', []),
    ],
)
def test_headers(header, expected):
    assert parse(header) == expected


@given(st.text(alphabet='aB =,"\\:/', max_size=60))
def test_any_header_is_parsed(header):
    parse(header)
