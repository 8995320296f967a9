"""Images created from containers."""

import pytest

from engine.errors import BuildFailed


@pytest.fixture
def committed(box):
    """Commits, and removes the images afterwards."""
    made = []

    def commit(record, reference="", **options):
        made.append(box.engine.commit(box.group, record.id, reference, **options))
        return made[-1]

    yield commit
    box.remove_all()
    for image in made:
        box.engine.remove_image(image.id, force=True)


def test_an_image_of_a_running_container(box, committed):
    record = box.start("sh", "-c", "echo made > /made; rm /etc/group; touch /ready; sleep 1000", environment={"A": "b"})
    box.inside(record, "while ! [ -e /ready ]; do sleep 0.01; done")
    image = committed(
        record, "tcommitted:1", author="me", message="why", changes=["ENV C=$A", 'CMD ["cat", "/made"]', "LABEL x=y"]
    )
    assert image.tags == ("docker.io/library/tcommitted:1",)
    assert image.config.labels["x"] == "y" and "C=b" in image.config.environment and "A=b" in image.config.environment
    assert box.output(image=image.id) == "made"
    assert box.shell("ls /etc/group || true", image=image.id, environment={}).endswith("No such file or directory")


def test_commit_keeps_the_containers_configuration(box, committed):
    record = box.create(entrypoint=("echo", "hello"), user="web", working_dir="/tmp", expose=("80",))
    image = committed(record)
    config = image.config
    assert (config.entrypoint, config.command) == (("echo", "hello"), ())
    assert (config.user, config.working_dir, config.exposed_ports) == ("web", "/tmp", ("80/tcp",))
    assert box.output(image=image.id) == "hello"


@pytest.mark.parametrize("change", ["RUN true", "FROM busybox", "NONSENSE x", "ENV"])
def test_unsupported_instructions_are_refused(box, committed, change):
    record = box.create("true")
    with pytest.raises(BuildFailed, match="--change"):
        committed(record, changes=[change])
