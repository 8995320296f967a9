"""Which services need a pull or a build."""

import time

import pytest

from composer.cli.errors import CommandError
from composer.cli.project.acquire import decide
from composer.plan.desired import DesiredService
from engine.spec.container import ContainerSpec
from engine.spec.image import BuildSpec, ImageRecord

DAY = 86400.0


def service(policy="", *, build=False):
    container = ContainerSpec(name="", image="")
    spec = BuildSpec(context="/") if build else None
    return DesiredService(name="web", hash="", image="web", container=container, build=spec, pull_policy=policy)


def image(age=0.0):
    """An image that was pulled `age` seconds ago, and built long before."""
    return ImageRecord(id="sha256:1", created_at=1.0, tagged_at=time.time() - age)


def choice(policy="", there=None, *, buildable=False, build=False, no_build=False, pull="policy"):
    return decide(service(policy, build=buildable), there, build=build, no_build=no_build, pull=pull)


@pytest.mark.parametrize(
    ("policy", "age", "expected"),
    [
        ("", 99 * DAY, ""), ("missing", 99 * DAY, ""), ("never", 99 * DAY, ""), ("always", 0, "pull"),
        ("daily", 0.9 * DAY, ""), ("daily", 1.1 * DAY, "pull"), ("weekly", 6 * DAY, ""), ("weekly", 8 * DAY, "pull"),
        ("every_12h", 0.4 * DAY, ""), ("every_12h", 0.6 * DAY, "pull"), ("every_1d12h", 1.4 * DAY, ""),
        ("every_1d12h", 1.6 * DAY, "pull"),
    ],
)  # fmt: skip
def test_present_image(policy, age, expected):
    assert choice(policy, image(age)) == expected


def test_an_image_that_is_missing():
    assert choice() == "pull"
    assert choice(buildable=True) == "build"
    assert choice("always", buildable=True) == "build"
    with pytest.raises(CommandError, match="pull_policy is never"):
        choice("never")
    with pytest.raises(CommandError, match="--no-build"):
        choice(buildable=True, no_build=True)


def test_attestation_flags():
    assert choice(there=image(), buildable=True, build=True) == "build"
    assert choice(there=image(), build=True) == ""
    assert choice("build", image(), buildable=True) == "build"
    assert choice("build", image(), buildable=True, no_build=True) == ""
    assert choice("never", image(), pull="always") == "pull"
    assert choice("always", image(), pull="missing") == ""
