"""Every value of security_opt is honoured or refused."""

import pytest

from engine.spec.securityopts import read

TRUE = ("1", "t", "T", "true", "TRUE", "True")
FALSE = ("0", "f", "F", "false", "FALSE", "False")


@pytest.mark.parametrize("separator", "=:")
@pytest.mark.parametrize("value", (*TRUE, *FALSE))
def test_no_new_privileges_as_gos_parse_bool(separator, value):
    assert read([f"no-new-privileges{separator}{value}"])[0].no_new_privileges is (value in TRUE)


@pytest.mark.parametrize(
    "option",
    [
        "no-new-privileges: true", "no-new-privileges:yes", "no-new-privileges:", "no-new-privileges=on", "No-New-Privileges",
        "no-new-privileges=true ", " no-new-privileges", "no_new_privileges", "seccomp", "seccomp=", "apparmor:", "magic:on",
        "systempaths=confined", "systempaths", "label", "label=", "label=type", "label=disable:x", "label=color:red",
        "", "=", ":",
    ],
)  # fmt: skip
def test_meaningless_options_are_refused(option):
    _, ((index, reason),) = read(["seccomp=unconfined", option])
    assert index == 1 and repr(option) in reason


def test_last_option_wins():
    found, problems = read(
        ["seccomp=a.json", "seccomp:unconfined", "no-new-privileges", "no-new-privileges=false", "apparmor=x:y"]
    )
    assert not problems
    assert (found.seccomp, found.no_new_privileges, found.apparmor) == ("unconfined", False, "x:y")


@pytest.mark.parametrize("option", ["label=disable", "label:type:t", "label=level:s0:c1,c2", "systempaths:unconfined"])
def test_known_values(option):
    assert not read([option])[1]
