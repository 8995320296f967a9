"""Services that are enabled only on request."""

import json


def test_profiles(composer):
    composer("up", "-d")
    assert set(composer.ps()) == {"always"}
    composer("--profile", "tools", "up", "-d")
    assert set(composer.ps()) == {"always", "tool"}
    composer("--profile", "tools", "down")
    assert composer.ps("-a") == {}
    composer("up", "-d", environ={"COMPOSE_PROFILES": "tools"})
    assert set(composer.ps()) == {"always", "tool"}


def test_naming_a_service_activates_its_profile(composer):
    composer("up", "-d", "tool")
    assert set(composer.ps()) == {"tool"}


def test_up_without_any_enabled_service(composer):
    done = composer("-f", "-", "up", "-d", stdin="services: {tool: {image: busybox, profiles: [tools]}}", code=1)
    assert done.err == "no service selected\n"


def test_a_project_named_by_p_alone_is_all_of_its_containers(composer):
    """Otherwise only the containers of enabled services count."""
    composer("--profile", "tools", "up", "-d")
    composer("stop", "-t", "0")
    assert set(composer.ps()) == {"tool"}
    name = json.loads(composer("config", "--format", "json").out)["name"]
    composer("-p", name, "start")
    assert set(composer.ps()) == {"always", "tool"}
    composer("-p", name, "kill")
    assert composer.ps() == {}
    assert "tool" in composer("-p", name, "rm", "-f").out
    assert composer.ps("-a") == {}
