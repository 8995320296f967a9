import pytest

from composer.plan import labels
from composer.plan.desired import COMPLETED, HEALTHY, STARTED, Dependency
from composer.plan.labels import is_oneoff, number_of, service_of
from composer.plan.observed import Snapshot, dependencies_of, take
from engine.spec.container import ContainerSpec
from engine.spec.image import ImageRecord
from engine.spec.state import ContainerRecord


def record(name="a", **own):
    return ContainerRecord(id=name, group="p", spec=ContainerSpec(name=name, image="i", labels=own))


def labelled(text):
    return record(**{labels.DEPENDS_ON: text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("db", [Dependency(service="db", condition=STARTED)]),
        ("db:service_healthy:false", [Dependency(service="db", condition=HEALTHY)]),
        (
            "db:service_completed_successfully:true,cache:service_started:false",
            [Dependency(service="db", condition=COMPLETED, restart=True), Dependency(service="cache")],
        ),
        (",db,", [Dependency(service="db")]),
    ],
)
def test_dependencies_from_the_label(text, expected):
    assert dependencies_of(labelled(text)) == expected


def test_a_container_of_another_program():
    stranger = record()
    assert (service_of(stranger), number_of(stranger), is_oneoff(stranger)) == ("", 0, False)
    assert number_of(record(**{labels.NUMBER: "many"})) == 0


def test_a_services_containers_are_in_the_order_of_their_numbers():
    def one(number, oneoff="False"):
        return record(f"w{number}", **{labels.SERVICE: "web", labels.NUMBER: str(number), labels.ONEOFF: oneoff})

    snapshot = Snapshot(project="p", containers=[one(10), one(2), one(1, "True"), record()], networks={}, volumes={})
    assert [c.spec.name for c in snapshot.service("web")] == ["w2", "w10"]


def test_images_that_are_missing_have_no_id():
    images = {"a": ImageRecord(id="sha256:1")}
    assert take("p", [], [], [], ["a", "b"], images.get).images == {"a": "sha256:1", "b": ""}
