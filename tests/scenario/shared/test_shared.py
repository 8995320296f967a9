"""What services share, and what happens to them when it changes."""


def namespace(composer, service):
    return composer("exec", "-T", service, "readlink", "/proc/1/ns/net").out


def test_a_guest_follows_the_one_whose_network_it_shares(composer):
    composer("up", "-d")
    assert namespace(composer, "guest") == namespace(composer, "base")
    composer("kill", "base")
    composer("up", "-d")
    assert namespace(composer, "guest") == namespace(composer, "base")
    composer("up", "-d", "--force-recreate", "base", "guest", "-t", "0")
    assert namespace(composer, "guest") == namespace(composer, "base")


def test_a_changed_network_and_a_changed_config(composer):
    composer("up", "-d")
    before = {name: containers[0]["ID"] for name, containers in composer.ps().items()}
    done = composer("up", "-d", "-t", "0", environ={"COLOUR": "red", "TEXT": "two"})
    assert f"Network {composer.name}_default Created" in done.err
    assert "configs_content.text changed" in done.err
    after = {name: containers[0]["ID"] for name, containers in composer.ps().items()}
    assert {name for name in before if before[name] != after[name]} == {"reader"}
    composer("exec", "-T", "reader", "ping", "-c", "1", "-W", "2", "base")
    assert composer("exec", "-T", "reader", "cat", "/text").out == "two"
    composer("up", "-d", environ={"COLOUR": "red", "TEXT": "two"})
    assert {name: containers[0]["ID"] for name, containers in composer.ps().items()} == after


def test_an_unsupported_key_stops_only_commands_that_need_it(composer):
    composer.write(
        compose="""\
        services:
          good: {image: busybox, command: [sleep, "1000"], init: true}
          bad:
            image: busybox
            runtime: nvidia
            secrets: [gone]
        secrets: {gone: {file: ./gone}}
        """
    )
    composer("up", "-d", "good")
    done = composer("up", "-d", code=1)
    assert "compose.yaml:5:5: services.bad.runtime: 'nvidia': composer has a single runtime of its own" in done.err
    assert "compose.yaml:6:15: services.bad.secrets[0]: the file of the secret 'gone' does not exist" in done.err
    assert set(composer.ps()) == {"good"}
