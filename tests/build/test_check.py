import pytest

from engine.build import examine
from engine.build.check import suggestion
from engine.errors import BuildFailed
from engine.spec.image import BuildSpec


@pytest.fixture
def said(images, context):
    def run(text, **spec):
        context.write({"Dockerfile": text})
        return [one.text for one in examine(BuildSpec(context=str(context.path), **spec), images=images)]

    return run


def short(warning, context):
    """The rule, its text and the line."""
    first, text, place, *_ = warning.splitlines()
    return first.split()[1], text, int(place.removeprefix(f"{context.path}/Dockerfile:"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch AS ok\nLABEL a=1\n", []),
        ("FROM scratch AS Web\n", [("StageNameCasing", "Stage name 'Web' should be lowercase", 1)]),
        ("from scratch AS a\nlabel a=1\n", [("FromAsCasing", "'AS' and 'from' keywords' casing do not match", 1)]),
        (
            "FROM scratch\nlabel a=1\nLABEL b=1\n",
            [("ConsistentInstructionCasing", "Command 'label' should match the case of the command majority (uppercase)", 2)],
        ),
        ("FROM scratch\nLABEL a=1 \\\n\n  b=2\n", [("NoEmptyContinuation", "Empty continuation line", 4)]),
        (
            "FROM scratch AS a\nFROM scratch AS a\n",
            [("DuplicateStageName", 'Duplicate stage name "a", stage names should be unique', 2)],
        ),
        (
            "FROM scratch AS scratch\n",
            [("ReservedStageName", 'Stage name should not use the same name as reserved stage "scratch"', 1)],
        ),
        (
            "FROM scratch\nCMD run\n",
            [("JSONArgsRecommended",
              "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals", 2)],
        ),
        ('FROM scratch\nSHELL ["sh"]\nENTRYPOINT run\n', []),
        (
            "FROM scratch\nMAINTAINER me\n",
            [("MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label", 2)],
        ),
        (
            "FROM scratch\nWORKDIR a\nWORKDIR b\n",
            [("WorkdirRelativePath", 'Relative workdir "a" can have unexpected results if the base image changes', 2)],
        ),
        (
            "FROM scratch\nENV ONE=1\nLABEL a=$OEN b=$PATH c=${TWO:-x}\n",
            [("UndefinedVar", "Usage of undefined variable '$OEN' (did you mean $ONE?)", 3),
             ("UndefinedVar", "Usage of undefined variable '$TWO'", 3)],
        ),
        ("FROM scratch AS a\nARG Q=1\nFROM a\nLABEL x=$Q\n", []),
        (
            'FROM scratch\nCMD ["a"]\nCMD ["b"]\n',
            [("MultipleInstructionsDisallowed",
              "Multiple CMD instructions should not be used in the same stage because only the last one will be used", 2)],
        ),
        (
            "FROM scratch\nENV A b\n",
            [("LegacyKeyValueFormat", '"ENV key=value" should be used instead of legacy "ENV key value" format', 2)],
        ),
        (
            "FROM --platform=$TARGETPLATFORM scratch\n",
            [("RedundantTargetPlatform",
              "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior", 1)],
        ),
        (
            "FROM --platform=linux/amd64 scratch\n",
            [("FromPlatformFlagConstDisallowed", 'FROM --platform flag should not use constant value "linux/amd64"', 1)],
        ),
        (
            "FROM scratch\nARG API_KEY PUBLIC_KEY\n",
            [("SecretsUsedInArgOrEnv", 'Do not use ARG or ENV instructions for sensitive data (ARG "API_KEY")', 2)],
        ),
        (
            "ARG V\nFROM scratch$V AS x\n", [],
        ),
        (
            "ARG VERSION=1\nFROM x:${VERSON:-2}\n",
            [("UndefinedArgInFrom", "FROM argument 'VERSON' is not declared (did you mean VERSION?)", 2)],
        ),
        (
            "ARG V\nFROM busybox:$V\n",
            [("InvalidDefaultArgInFrom",
              "Default value for ARG busybox:$V results in empty or invalid base image name", 2)],
        ),
        (
            "FROM scratch\nEXPOSE 80/TCP 1:2\n",
            [("ExposeInvalidFormat",
              "EXPOSE instruction should not define an IP address or host-port mapping, found '1:2'", 2),
             ("ExposeProtoCasing", "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase", 2)],
        ),
        ("# check=skip=StageNameCasing\nFROM scratch AS X\n", []),
        ("# check=skip=all\nFROM scratch AS X\nMAINTAINER y\n", []),
        ("FROM scratch\n# check=skip=UndefinedVar\nLABEL x=$Q\n", []),
        (
            "# check=experimental=all\nFROM scratch\n# about\nARG B\n",
            [("InvalidDefinitionDescription", "Comment for ARG should follow the format: `# B <description>`", 4)],
        ),
    ],
)  # fmt: skip
def test_rules(said, context, text, expected):
    assert [short(warning, context) for warning in said(text)] == expected


def test_an_ignored_file(said, context):
    context.write({".dockerignore": "secret*\n"})
    (warning,) = said("# check=experimental=CopyIgnoredFile\nFROM scratch\nADD secret.txt other /\n")
    assert 'Attempting to Add file "secret.txt" that is excluded by .dockerignore' in warning


def test_a_base_image_s_variables_are_known(said, base, context):
    assert said("FROM base\nLABEL a=$BASE\n") == []
    assert said("FROM not.here/image\nLABEL a=$ANY\n") == []


def test_a_warning_shows_its_lines(said, context):
    (warning,) = said("FROM scratch\nARG A=1\nLABEL b=2 \\\n  c=$NOPE\nLABEL d=3\n")
    assert warning == (
        "WARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/\n"
        "Usage of undefined variable '$NOPE'\n"
        f"{context.path}/Dockerfile:3\n--------------------\n"
        "   2 |     ARG A=1\n   3 | >>> LABEL b=2 \\\n   4 | >>>   c=$NOPE\n   5 |     LABEL d=3\n--------------------\n"
    )


def test_a_build_warns_and_can_fail(builder, base):
    builder("FROM base AS X\nLABEL a=1")
    assert any(
        line.endswith("WARN: StageNameCasing: Stage name 'X' should be lowercase (line 1)") for line in builder.lines
    )
    with pytest.raises(BuildFailed, match="lint violation found for rules: StageNameCasing"):
        builder("# check=error=true\nFROM base AS X")
    with pytest.raises(BuildFailed, match=r":1: invalid check option 'colour=red'"):
        builder("# check=colour=red\nFROM base")


def test_suggestions():
    assert suggestion("PTH", ["PATH", "HOME"], "$") == " (did you mean $PATH?)"
    assert suggestion("NOTHING", ["PATH"]) == ""
