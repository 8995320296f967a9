"""What `up` does if a project differs from its running containers."""


def ids(composer):
    return {service: containers[0]["ID"] for service, containers in composer.ps().items()}


def test_a_changed_service_is_recreated_and_the_reason_printed(composer):
    composer("up", "-d")
    before = ids(composer)
    done = composer("up", "-d", environ={"VALUE": "two"})
    after = ids(composer)
    assert before["a"] != after["a"]
    assert before["b"] == after["b"]
    assert "environment" in done.err
    assert composer("exec", "-T", "a", "sh", "-c", "echo $VALUE").out == "two\n"


def test_force_recreate(composer):
    composer("up", "-d")
    before = ids(composer)
    composer("up", "-d", "--force-recreate", "b")
    after = ids(composer)
    assert before["a"] == after["a"]
    assert before["b"] != after["b"]


def test_orphans_are_warned_of_then_removed(composer):
    composer("up", "-d")
    composer.write(
        compose="services: {a: {image: busybox, command: [sleep, '1000'], init: true, environment: {VALUE: one}}}\n"
    )
    done = composer("up", "-d")
    assert "orphan" in done.err
    assert f"{composer.name}-b-1" in done.err
    assert composer("exec", "-T", "b", "echo", "still there").out == "still there\n"
    done = composer("cp", "compose.yaml", "b:/x")
    step = f" {composer.name}-b-1 "
    assert done.err == f"{step}Copying compose.yaml to {step[1:-1]}:/x\n{step}Copied compose.yaml to {step[1:-1]}:/x\n"
    assert composer("export", "-o", "b.tar", "b").err == f"{step}Exporting\n{step}Exported\n"
    done = composer("up", "-d", "--remove-orphans", code=1, environ={"COMPOSE_IGNORE_ORPHANS": "1"})
    assert "cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans" in done.err
    composer("up", "-d", "--remove-orphans")
    assert set(composer.ps("-a")) == {"a"}


def test_the_removal_of_a_container_that_does_not_run_shows_a_stop(composer):
    composer("up", "-d", "--scale", "b=2")
    composer("stop", "b")
    for arguments in (("--dry-run", "up", "-d"), ("up", "-d")):
        done = composer(*arguments, "--scale", "b=0")
        for container in (f"{composer.name}-b-1", f"{composer.name}-b-2"):
            steps = [line.split()[-1] for line in done.err.splitlines() if f" {container} " in line]
            assert steps == ["Stopping", "Stopped", "Removing", "Removed"]


def test_a_dry_run_changes_nothing(composer):
    done = composer("--dry-run", "up", "-d")
    assert "Container" in done.err
    assert composer.ps("-a") == {}


def test_networks_change_without_recreating_the_container(composer):
    def up(networks):
        composer.write(
            compose=f"""
services:
  a: {{image: busybox, command: [sleep, '1000'], init: true, networks: {networks}}}
  b: {{image: busybox, command: [sleep, '1000'], init: true}}
networks: {{more: {{}}, default: {{ipam: {{config: [{{subnet: 10.77.9.0/24}}]}}}}}}
"""
        )
        return composer("up", "-d").err

    up("{default: {aliases: [old]}}")
    before = ids(composer)
    assert "aliases" in up("{default: {aliases: [new], ipv4_address: 10.77.9.9}, more: {}}")
    assert ids(composer) == before
    assert "10.77.9.9" in composer("exec", "-T", "b", "nslookup", "new").out
    assert composer("exec", "-T", "a", "ip", "-o", "-4", "addr").out.count("inet ") == 3
    assert "Running" in up("{default: {aliases: [new], ipv4_address: 10.77.9.9}, more: {}}")
    done = composer("up", "-d", "--force-recreate")
    assert ids(composer)["a"] != before["a"], done.err


def test_a_changed_network_is_replaced_though_it_publishes_ports(composer):
    """Their rules are withdrawn after the container has exited, and its addresses released after that."""

    def up(subnet):
        composer.write(
            compose=f"""
services:
  a: {{image: busybox, command: [sleep, '1000'], init: true, ports: ["80"]}}
  b: {{image: busybox, command: [sleep, '1000'], init: true, ports: ["80"]}}
networks: {{default: {{ipam: {{config: [{{subnet: {subnet}}}]}}}}}}
"""
        )
        composer("up", "-d")
        return composer("exec", "-T", "a", "hostname", "-i").out

    assert up("10.77.8.0/24").startswith("10.77.8.")
    assert up("10.77.9.0/24").startswith("10.77.9.")
