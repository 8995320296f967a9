"""Confirmation before publishing a project: content that may reveal more than intended."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from composer.cli.errors import CommandError, ExitCode
from composer.cli.publish import detect
from composer.cli.terminal.question import confirmed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from composer.cli.publish.layers import Files
    from composer.load.options import Loaded, LoadOptions

DECLINED = 130
"""Exit code after a no, as of an interrupted command."""
_MOUNTS = """you are about to publish bind mounts declaration within your OCI artifact.
only the bind mount declarations will be added to the OCI artifact (not content)
please double check that you are not mounting potential user's sensitive directories or data
"""
_SENSITIVE = """you are about to publish sensitive data within your OCI artifact.
please double check that you are not leaking sensitive data
"""
_DECLARATIONS = """you are about to publish env-related declarations within your OCI artifact.
Paths of env files and literal values of keys that sound secret are published as they are; values like "${VAR}" are not
replaced, and are not listed here.
"""
_CONTENTS = "you are about to publish literal inline config content within your OCI artifact.\n"


def check(loaded: Loaded, files: Files, options: LoadOptions, *, with_env: bool, agreed: bool) -> None:
    """Raises CommandError for a project that cannot be published, and ExitCode when the user declines. With `agreed`,
    do not ask."""
    if files.included:
        raise CommandError(
            f"cannot publish compose file with local includes: {', '.join(files.included)}\n"
            "Publish the included files as projects of their own, and include them as oci://…"
        )
    _check_images(loaded.tree)
    if agreed:
        return
    raw = {path: _raw(path, options) for path in files.sources}
    if mounts := list(_bind_mounts(loaded.tree)):
        _ask(_MOUNTS, mounts, "Are you ok to publish these bind mount declarations?")
    if found := [str(one) for one in _sensitive(loaded.tree, files, (raw[path] for path in files.main))]:
        _ask(_SENSITIVE, found, "Are you ok to publish these sensitive data?")
    if not with_env and (lines := list(_declarations(raw.values()))):
        silence = "Use --with-env to silence this prompt and always publish env declarations.\n"
        _ask(_DECLARATIONS, lines, f"{silence}Are you ok to publish these env declarations?")
    if configs := sorted(set(_literal_configs(raw.values()))):
        _ask(_CONTENTS, [f'  config "{name}"' for name in configs], "Are you ok to publish these config contents?")


def _ask(words: str, lines: Iterable[str], question: str) -> None:
    text = words + "".join(f"{line}\n" for line in lines)
    if not confirmed(f"{text}{question} [y/N] ", sys.stdout):
        print(file=sys.stdout)
        raise ExitCode(DECLINED)


def _services(tree: Any) -> Iterator[tuple[str, Any]]:
    """Services and jobs by name."""
    for section in ("services", "jobs"):
        yield from sorted((name, one) for name, one in (tree.get(section) or {}).items() if isinstance(one, dict))


def _check_images(tree: Any) -> None:
    missing = [name for name, service in _services(tree) if service.get("build") and not service.get("image")]
    if missing:
        lines = "\n".join(f'- "{name}"' for name in missing)
        raise CommandError(
            "your Compose stack cannot be published as it only contains a build section for service(s):\n"
            f"{lines}\nGive each an `image`, which publish pushes."
        )


def _bind_mounts(tree: Any) -> Iterator[str]:
    for name, service in _services(tree):
        for mount in service.get("volumes") or ():
            if mount.get("type") == "bind":
                access = "ro" if mount.get("read_only") else "rw"
                yield f"{name}: {mount.get('source')}:{mount.get('target')}:{access}"


def _raw(path: str, options: LoadOptions) -> Any:
    """One compose file in long form, without interpolation."""
    from composer.load.merge.layers import Layers, Reading
    from composer.load.options import Inputs

    alone = options.replace(interpolate=False)
    reading = Reading(alone, Inputs(), lambda line: None, options.environ.get("HOME", ""))
    tree: Any = Layers(reading, (path,), os.path.dirname(path), {}).tree()
    for _, service in _services(tree):
        if isinstance(listed := service.get("environment"), list):
            pairs = (str(item).partition("=") for item in listed)
            service["environment"] = {name: value if equals else None for name, equals, value in pairs}
    return tree


def _sensitive(tree: Any, files: Files, raw: Iterable[Any]) -> Iterator[detect.Finding]:
    for one in raw:
        yield from detect.in_values(detect.flattened(one))
    paths = [path for source in files.sources.values() for path in source.env_files]
    for section in ("configs", "secrets"):
        paths += [entry["file"] for entry in (tree.get(section) or {}).values() if entry and entry.get("file")]
    for path in dict.fromkeys(paths):
        try:
            yield from detect.in_file(path)
        except FileNotFoundError:
            continue  # loading has already reported a missing required file
        except OSError as error:
            raise CommandError(f"cannot look for secrets in {path}: {error.strerror}") from error


def _declarations(raw: Iterable[Any]) -> Iterator[str]:
    """One line for each service with an env file, and one for each with values under keys that sound secret."""
    with_file: set[str] = set()
    keys: dict[str, set[str]] = {}
    for tree in raw:
        for name, service in _services(tree):
            if service.get("env_file"):
                with_file.add(name)
            for key, value in (service.get("environment") or {}).items():
                if value is not None and detect.names_a_secret(key) and detect.is_literal(str(value)):
                    keys.setdefault(name, set()).add(key)
    for name in sorted({*with_file, *keys}):
        if name in with_file:
            yield f'  service "{name}": env_file declared'
        if name in keys:
            listed = ", ".join(f'"{key}"' for key in sorted(keys[name]))
            yield f'  service "{name}": literal value for {listed}'


def _literal_configs(raw: Iterable[Any]) -> Iterator[str]:
    for tree in raw:
        for name, config in (tree.get("configs") or {}).items():
            if config and config.get("content") and detect.is_literal(str(config["content"])):
                yield name
