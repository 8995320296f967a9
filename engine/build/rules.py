"""The rules of a Dockerfile check, with BuildKit's names, texts and pages (docs.docker.com/reference/build-checks)."""

from __future__ import annotations

import re

from msgspec import Struct

from engine.build.history import quoted

_PAGES = "https://docs.docker.com/go/dockerfile/rule"


class Rule(Struct, frozen=True):
    """`text` is the message, with fields in braces; {q…} fields are shown in double quotes."""

    name: str
    text: str

    @property
    def page(self) -> str:
        return f"{_PAGES}/{re.sub(r'(?<=[a-z])(?=[A-Z])|(?<=N)(?=Args)', '-', self.name).lower()}/"

    def says(self, **fields: str) -> str:
        return self.text.format(**{name: quoted(value) if name[0] == "q" else value for name, value in fields.items()})


STAGE_NAME_CASING = Rule("StageNameCasing", "Stage name '{name}' should be lowercase")
FROM_AS_CASING = Rule("FromAsCasing", "'{as_}' and '{from_}' keywords' casing do not match")
NO_EMPTY_CONTINUATION = Rule("NoEmptyContinuation", "Empty continuation line")
CONSISTENT_INSTRUCTION_CASING = Rule(
    "ConsistentInstructionCasing", "Command '{name}' should match the case of the command majority ({casing})"
)
DUPLICATE_STAGE_NAME = Rule("DuplicateStageName", "Duplicate stage name {qname}, stage names should be unique")
RESERVED_STAGE_NAME = Rule("ReservedStageName", "Stage name should not use the same name as reserved stage {qname}")
JSON_ARGS_RECOMMENDED = Rule(
    "JSONArgsRecommended",
    "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals",
)
MAINTAINER_DEPRECATED = Rule("MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label")
UNDEFINED_ARG_IN_FROM = Rule("UndefinedArgInFrom", "FROM argument '{name}' is not declared{suggestion}")
WORKDIR_RELATIVE_PATH = Rule(
    "WorkdirRelativePath", "Relative workdir {qpath} can have unexpected results if the base image changes"
)
UNDEFINED_VAR = Rule("UndefinedVar", "Usage of undefined variable '${name}'{suggestion}")
MULTIPLE_INSTRUCTIONS_DISALLOWED = Rule(
    "MultipleInstructionsDisallowed",
    "Multiple {name} instructions should not be used in the same stage because only the last one will be used",
)
LEGACY_KEY_VALUE_FORMAT = Rule(
    "LegacyKeyValueFormat", '"{name} key=value" should be used instead of legacy "{name} key value" format'
)
REDUNDANT_TARGET_PLATFORM = Rule(
    "RedundantTargetPlatform",
    "Setting platform to predefined {name} in FROM is redundant as this is the default behavior",
)
SECRETS_USED_IN_ARG_OR_ENV = Rule(
    "SecretsUsedInArgOrEnv", "Do not use ARG or ENV instructions for sensitive data ({name} {qkey})"
)
INVALID_DEFAULT_ARG_IN_FROM = Rule(
    "InvalidDefaultArgInFrom", "Default value for ARG {name} results in empty or invalid base image name"
)
FROM_PLATFORM_FLAG_CONST_DISALLOWED = Rule(
    "FromPlatformFlagConstDisallowed", "FROM --platform flag should not use constant value {qplatform}"
)
COPY_IGNORED_FILE = Rule("CopyIgnoredFile", "Attempting to {name} file {qfile} that is excluded by .dockerignore")
INVALID_DEFINITION_DESCRIPTION = Rule(
    "InvalidDefinitionDescription", "Comment for {name} should follow the format: `# {key} <description>`"
)
EXPOSE_PROTO_CASING = Rule("ExposeProtoCasing", "Defined protocol '{port}' in EXPOSE instruction should be lowercase")
EXPOSE_INVALID_FORMAT = Rule(
    "ExposeInvalidFormat",
    "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'",
)
EXPERIMENTAL = frozenset({INVALID_DEFINITION_DESCRIPTION.name, COPY_IGNORED_FILE.name})
"""Rules that apply only if `# check=experimental=…` enables them."""

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_HARMLESS = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a variable's name suggests that its value should not be in an image."""
    return bool(_SECRET.search(name)) and not _HARMLESS.search(name)


class Options(Struct, frozen=True):
    """`# check=skip=A,B;error=true;experimental=C`; `all` is every rule."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def applies(self, rule: Rule) -> bool:
        if rule.name in EXPERIMENTAL:
            return bool({"all", rule.name} & self.experimental)
        return not {"all", rule.name} & self.skip


def options(text: str) -> Options:
    """Raises ValueError for an option that does not exist."""
    skip, experimental, error = frozenset[str](), frozenset[str](), False
    for part in text.strip().split(";") if text.strip() else ():
        name, equals, value = part.partition("=")
        names = frozenset(one.strip() for one in value.split(","))
        if name.strip() == "skip" and equals:
            skip |= names
        elif name.strip() == "experimental" and equals:
            experimental |= names
        elif name.strip() == "error" and value.strip() in ("true", "false"):
            error = value.strip() == "true"
        else:
            raise ValueError(f"invalid check option {part!r}: expected skip=…, experimental=… or error=true")
    return Options(skip, experimental, error)
