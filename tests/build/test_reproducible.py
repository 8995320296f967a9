import os

import pytest

from engine.build import build
from engine.build.container_run import ContainerRun
from engine.errors import BuildFailed
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.paths import Roots
from engine.spec.image import BuildSpec, ImageConfig
from engine.store import Store

EPOCH = 1_600_000_000


@pytest.mark.root
def test_two_empty_stores_give_the_same_digests(tmp_path, busybox_rootfs):
    import io

    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("f")
    text = (
        "FROM base\nWORKDIR /w\nRUN echo a > a; mkdir -p b/c; ln -s x l; rm -r /root; touch -d @5 old\n"
        "COPY f /new/f\nCOPY <<E /h\nh\nE\nENV A=1\n"
    )
    found = []
    for number in range(2):
        roots = Roots(str(tmp_path / f"state{number}"), str(tmp_path / f"run{number}"))
        images = ImageStore(Store(roots))
        import_rootfs(
            images, io.BytesIO(busybox_rootfs), tags=["base"], config=ImageConfig(), created="2020-01-01T00:00:00Z"
        )
        os.utime(context / "f", (EPOCH + 10 * number + 1, EPOCH + 10 * number + 1))
        spec = BuildSpec(
            context=str(context), dockerfile_inline=text, network="none", args={"SOURCE_DATE_EPOCH": str(EPOCH)}
        )
        with ContainerRun(roots) as run:
            record = build(spec, images=images, run=run)
        file = images.file(record.id)
        assert {line.created for line in file.history if "buildkit" in line.comment} == {"2020-09-13T12:26:40Z"}
        assert file.created == "2020-09-13T12:26:40Z"
        found.append((record.id, file.rootfs.diff_ids))
        images.store.close()
    assert found[0] == found[1]


def test_source_date_epoch_from_environment(builder, base):
    record = builder("FROM base\nENV A=1", environ={"SOURCE_DATE_EPOCH": "0"})
    assert builder.images.file(record.id).created == "1970-01-01T00:00:00Z"
    with pytest.raises(BuildFailed, match="invalid SOURCE_DATE_EPOCH 'now'"):
        builder("FROM base", args={"SOURCE_DATE_EPOCH": "now"})


def test_the_lower_case_name(builder, base, context):
    context.write({"dockerfile": "FROM base\nLABEL a=lower"})
    record = builder("", dockerfile_inline=None)
    assert record.config.labels == {"a": "lower"}
