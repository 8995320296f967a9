"""AppArmor profiles: asked for by name, where the machine has them."""

import os

import pytest

from engine.container.bundle import _has_apparmor, apparmor
from engine.errors import StartFailed, Unsupported
from engine.spec.container import ContainerSpec


@pytest.mark.parametrize(
    ("options", "profile"),
    [
        ((), ""),
        (("apparmor=unconfined",), ""),
        (("apparmor:mine",), "mine"),
        (("apparmor=mine", "no-new-privileges:true"), "mine"),
        (("apparmor=a:b",), "a:b"),
    ],
)
def test_options(options, profile):
    assert apparmor(ContainerSpec(name="c", image="i", security_opt=options)) == profile


@pytest.mark.skipif(_has_apparmor(), reason="this machine has AppArmor")
def test_without_apparmor(host):
    with pytest.raises(Unsupported, match="this host has no AppArmor to confine by mine"):
        host.create("true", security_opt=("apparmor=mine",))
    assert host.run("true", security_opt=("apparmor=unconfined",)).code == 0


@pytest.mark.skipif(not _has_apparmor(), reason="this machine has no AppArmor")
def test_a_profile_that_is_not_loaded(host):
    with pytest.raises(StartFailed, match="confine by the AppArmor profile no-such-profile: ENOENT"):
        host.run("true", security_opt=("apparmor=no-such-profile",))
    assert os.path.exists("/proc/self/attr")
