"""Services that are enabled only on request."""


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
