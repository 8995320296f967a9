"""Which builds wait for which, and what `pull` skips."""

from types import SimpleNamespace

import msgspec
import pytest

from composer.cli.errors import CommandError
from composer.cli.project.acquire import _built_by, _not_pulled
from composer.cli.project.builds import _check_platform, _uses, build_services, with_needed
from composer.plan.desired import Desired, DesiredService
from engine.spec.container import ContainerSpec
from engine.spec.image import BuildSpec


def service(name, image="", inline="", policy="", **build):
    spec = BuildSpec(context="/", dockerfile_inline=inline, tags=(image or f"p-{name}",), **build) if inline else None
    container = ContainerSpec(name="", image="")
    return DesiredService(
        name=name, hash="", image=image or f"p-{name}", container=container, build=spec, pull_policy=policy
    )


def project(*services):
    return Desired(project="p", services={one.name: one for one in services}, order=tuple(s.name for s in services))


def uses(*services):
    builds = {one.name: (one, one.build) for one in services}
    return {name: _uses(pair[1], builds) - {name} for name, pair in builds.items()}


def test_a_build_waits_for_the_images_that_its_dockerfile_names():
    base = service("base", "acme/base", "FROM alpine")
    assert uses(base, service("web", "", "FROM acme/base"), service("other", "", "FROM acme/basement")) == {
        "base": set(),
        "web": {"base"},
        "other": set(),
    }
    assert uses(base, service("web", "", "ARG B\nFROM $B", args={"B": "acme/base:latest"}))["web"] == {"base"}
    assert uses(base, service("web", "", "FROM alpine\nCOPY --from=acme/base /a /"))["web"] == {"base"}


def test_contexts_of_services_are_built_too():
    one = service("one", "", "FROM two", additional_contexts={"two": "service:two"})
    two = service("two", "", "FROM three", additional_contexts={"three": "service:three"})
    assert with_needed(project(service("three", "", "FROM alpine"), two, one), ["one"]) == ["three", "two", "one"]


def test_an_image_that_another_service_builds():
    made = service("made", "app", "FROM alpine")
    user, stranger = service("user", "app"), service("stranger", "other")
    desired = project(made, user, stranger)
    assert _built_by(desired, user) is made
    assert _built_by(desired, stranger) is None


@pytest.mark.parametrize(
    ("given", "policy", "there", "expected"),
    [
        (service("a", "", "FROM b"), "", True, "No image to be pulled"),
        (service("a", "x:1", "FROM b"), "build", True, "Pull policy is build"),
        (service("a", "x:1"), "never", False, "Pull policy is never"),
        (service("a", "x:1"), "missing", True, "Image is already present locally"),
        (service("a", "x:1"), "missing", False, ""),
        (service("a", "x:latest"), "missing", True, ""),
        (service("a", "x"), "missing", True, ""),
        (service("a", "host:5000/x"), "missing", True, ""),
        (service("a", "x@sha256:1"), "missing", True, "Image is already present locally"),
        (service("a", "x:1"), "daily", True, ""),
    ],
)
def test_services_that_pull_skips(given, policy, there, expected):
    engine = SimpleNamespace(image=lambda reference: object() if there else None)
    context = SimpleNamespace(desired=project(given), engine=engine)
    assert _not_pulled(context, given, policy, False) == expected


def test_a_default_platform_that_is_not_built():
    given = service("a", "", "FROM b", platforms=("linux/amd64",))
    _check_platform(SimpleNamespace(environ={}), given)
    with pytest.raises(CommandError, match="DOCKER_DEFAULT_PLATFORM: windows/amd64"):
        # It is the service's platform.
        given = msgspec.structs.replace(given, platform="windows/amd64")
        _check_platform(SimpleNamespace(environ={"DOCKER_DEFAULT_PLATFORM": "windows/amd64"}), given)


def test_missing_ssh_agent():
    context = SimpleNamespace(check_services=lambda names: None, desired=project(), environ={})
    with pytest.raises(CommandError, match="invalid empty ssh agent socket"):
        build_services(context, [], dependencies=False, arguments={}, no_cache=False, pull=False, ssh="", quiet=False)
