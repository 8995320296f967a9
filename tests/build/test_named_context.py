"""Additional contexts that are directories on this machine."""

import pytest

from engine.errors import BuildFailed


def test_a_missing_one_is_an_error_even_if_nothing_uses_it(builder, tmp_path):
    with pytest.raises(BuildFailed, match=f"cannot open the build context c, {tmp_path}/gone: no such file"):
        builder("FROM scratch\nLABEL a=b\n", additional_contexts={"c": f"{tmp_path}/gone"})


def test_none_replaces_scratch(builder, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "f").touch()
    built = builder("FROM scratch\nLABEL a=b\n", additional_contexts={"scratch": f"{tmp_path}/more"})
    assert built.layers == ()


def test_one_in_place_of_a_stage_has_no_configuration(builder, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "f").write_text("f")
    contexts = {"one": f"{tmp_path}/more"}
    built = builder("FROM base AS one\nENV A=1\n", additional_contexts=contexts)
    assert built.config.environment == () and not built.config.working_dir
    built = builder("FROM base AS one\nENV A=1\nFROM one\nENV B=2\n", additional_contexts=contexts)
    assert builder.tree(built) == {"f": "f"}
    assert [text.partition("=")[0] for text in built.config.environment] == ["PATH", "B"]
