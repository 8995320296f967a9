"""Whole plans, as text. A case is a folder:

compose.yaml     the desired project, in canonical form (without what world.desired_of adds)
before.yaml      the project from which the containers were created, if it differs
situation.yaml   options: those of the command; containers: name → status, or a mapping with status, exit_code, health,
                 image (another reference), labels; gone: missing networks and volumes
plan.txt         the plan; a number is an operation's, those after ← must come before it

UPDATE_PLANS=1 rewrites plan.txt.
"""

import os
import re
from pathlib import Path

import msgspec
import pytest
import yaml

from composer.plan import labels
from composer.plan.networks_and_volumes import SharedProblem
from composer.plan.options import Options
from composer.plan.reconcile import reconcile
from composer.plan.refusal import Refused
from engine.spec.network import NetworkRecord, VolumeRecord
from engine.spec.state import Health, Status
from tests.plan.world import World, desired_of, image_id

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/plan.txt"))


def situation(case):
    """The desired state, the observed state, and the options."""
    given = yaml.safe_load((case / "situation.yaml").read_text())
    compose = yaml.safe_load((case / "compose.yaml").read_text())
    before = yaml.safe_load((case / "before.yaml").read_text()) if (case / "before.yaml").exists() else compose
    earlier = desired_of(before)
    world = World()
    gone = set(given.get("gone", ()))
    for network in earlier.networks.values():
        if network.spec.name not in gone:
            world.networks[network.spec.name] = NetworkRecord(id=network.spec.name, spec=network.spec)
    for volume in earlier.volumes.values():
        if volume.spec.name not in gone:
            world.volumes[volume.spec.name] = VolumeRecord(spec=volume.spec, mountpoint="/")
    for name, state in given.get("containers", {}).items():
        _container(world, earlier, name, {"status": state} if isinstance(state, str) else state)
    world.networks = {name: record for name, record in world.networks.items() if name not in set(given.get("lost", ()))}
    desired = None if given.get("no_file") else desired_of(compose)
    snapshot = world.snapshot(desired)
    if desired:
        snapshot.project = desired.project
    return desired, snapshot, msgspec.convert(given["options"], Options)


def _container(world, earlier, name, state):
    match = re.fullmatch(r"(?:demo-)?([a-z]+)(?:-(?:run-)?(\w+))?", name)
    service = state.pop("service", match[1])
    oneoff = "-run-" in name
    number = int(match[2]) if match[2] and not oneoff else 1
    image, more = state.pop("image", ""), state.pop("labels", {})
    fields = {"status": Status(state.pop("status"))}
    if "health" in state:
        fields["health"] = Health(status=state.pop("health"))
    record = world.add(earlier, service, number, name, **fields, **state)
    changes = {"labels": {**record.spec.labels, **more, labels.ONEOFF: "True" if oneoff else "False"}}
    if image:
        changes["image"] = image_id(image)
    spec = msgspec.structs.replace(record.spec, **changes)
    world.containers[world.containers.index(record)] = msgspec.structs.replace(record, spec=spec)


def text_of(desired, snapshot, options):
    try:
        plan = reconcile(desired, snapshot, options)
    except (Refused, SharedProblem) as error:
        return f"error: {error}\n"
    lines = []
    for operation in plan.operations:
        after = f" ← {' '.join(str(i) for i in sorted(operation.after))}" if operation.after else ""
        lines.append(f"{operation.id} {operation}{after}")
    lines += [f"unchanged: {name}" for name in plan.unchanged]
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_plan(case):
    found = text_of(*situation(case))
    if os.environ.get("UPDATE_PLANS"):
        (case / "plan.txt").write_text(found)
    assert found == (case / "plan.txt").read_text()
