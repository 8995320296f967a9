import pytest

from engine.errors import InvalidSpec
from engine.image.platform import Platform, host, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/arm64", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("Linux/AMD64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_names(text, expected):
    assert str(parse(text)) == expected


def test_empty_platform_means_this_machine():
    assert parse("") == parse("linux") == parse("local") == host()


@pytest.mark.parametrize("text", ["/", "linux/", "a/b/c/d", "plan9"])
def test_invalid_platforms_are_refused(text):
    with pytest.raises(InvalidSpec):
        parse(text)


@pytest.mark.parametrize(
    ("machine", "image", "runs"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64/v8", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm64/v8", "linux/arm64", True),
    ],
)
def test_platforms_that_run_here(machine, image, runs):
    def split(text):
        return Platform(*text.split("/"))

    assert split(machine).runs(split(image)) is runs
