import json

from engine.container import state
from engine.paths import Roots
from engine.spec.container import ContainerSpec
from engine.spec.state import ContainerState, Status


def test_fields_of_another_release_are_ignored(tmp_path):
    """Their values are lost, but the container stays usable."""
    roots = Roots(state=str(tmp_path / "s"), run=str(tmp_path / "r"))
    folder = roots.container("g", "c")
    spec = ContainerSpec(name="web", image="i", command=("true",))
    state.write_new(folder, spec, ContainerState())
    state.write_state(folder, ContainerState(status=Status.EXITED, exit_code=4))
    for name in ("spec.json", "state.json"):
        with open(f"{folder}/{name}") as file:
            fields = json.load(file)
        with open(f"{folder}/{name}", "w") as file:
            json.dump({**fields, "ends": [{"exit_code": 4}]}, file)

    record = state.read(roots, "g", "c")

    assert record.spec == spec
    assert (record.state.status, record.state.exit_code) == (Status.EXITED, 4)
