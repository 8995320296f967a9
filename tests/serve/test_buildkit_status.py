"""A build's progress, as BuildKit's clients read it."""

from composer.serve.buildkit import wire
from composer.serve.buildkit.status import Progress
from engine.build.progress import Reporter


def shown(progress):
    """The vertices' names and the statuses' ids that a client reads, in order, each once."""
    found = []
    for message in progress._messages:
        fields = wire.fields(message)
        found += [wire.text(wire.fields(one), 3) for one in wire.blocks(fields, 1)]
        found += [wire.text(wire.fields(one), 1) for one in wire.blocks(fields, 2)]
    return list(dict.fromkeys(found))


def build(progress, *steps):
    reporter = Reporter(progress.take)
    for place, text in (*steps, ("internal", "exporting to image")):
        step = reporter.step(place, text)
        step.output(b"naming to made done\n")
        step.done()
    progress.exported("sha256:1", ("made", "other/x:2"))


def test_the_image_of_from_and_the_names_of_the_result_are_shown_in_full():
    progress = Progress("ref")
    build(progress, ("one 1/1", "FROM --platform=linux/amd64 busybox AS one"), ("2/2", "RUN true"))
    assert shown(progress) == [
        "[internal] load metadata for docker.io/library/busybox:latest",
        "[one 1/1] FROM docker.io/library/busybox:latest",
        "[2/2] RUN true",
        "exporting to image",
        "exporting layers",
        "writing image sha256:1",
        "naming to docker.io/library/made:latest",
        "naming to docker.io/other/x:2",
    ]


def test_the_builders_own_lines_on_the_export_are_not_shown_twice():
    progress = Progress("ref")
    build(progress)
    assert not [one for message in progress._messages for one in wire.blocks(wire.fields(message), 3)]


def test_stages_and_scratch_as_base_are_not_shown():
    progress = Progress("ref")
    build(progress, ("a 1/1", "FROM scratch AS a"), ("b 1/1", "FROM a as b"), ("2/2", "FROM B"))
    assert not [name for name in shown(progress) if "FROM" in name]


def test_files_sent_to_the_client_are_no_image():
    progress = Progress("ref", "local")
    reporter = Reporter(progress.take)
    reporter.step("internal", "exporting to image").done()
    progress.exported("sha256:1", ())
    assert shown(progress) == ["exporting to client directory", "copying files"]


def test_received_contexts_show_their_size():
    progress = Progress("ref")
    with progress.transfer("load build context", "context") as received:
        received(1234)
    (status,) = [one for message in progress._messages for one in wire.blocks(wire.fields(message), 2)]
    assert (wire.text(wire.fields(status), 1), wire.number(wire.fields(status), 4)) == ("transferring context:", 1234)
