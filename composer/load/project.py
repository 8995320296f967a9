"""The pipeline: it turns files and environment into the project.

sources ─▶ layers: read ─▶ interpolate ─▶ extends ─▶ include ─▶ merge ─▶ unique ─▶ validate ─▶ canonical   (each file)
        ─▶ defaults ─▶ constraints ─▶ paths ─▶ normalise ─▶ bind ─▶ profiles ─▶ consistency ─▶ variables ─▶ select
"""

from __future__ import annotations

import gc
import os

from composer.load.errors import REPORTED, LoadError, each, raise_all
from composer.load.options import Environment, Loaded, LoadOptions
from composer.load.project_name import normalised
from composer.load.read import sources
from composer.load.resolve import select
from composer.load.tree.nodes import Map, Origin

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.load.merge.layers import Reading
    from composer.load.read.sources import Sources
    from composer.model import Project

__all__ = ["LoadError", "LoadOptions", "Loaded", "load", "load_model", "load_tree", "project_name"]


def load_tree(options: LoadOptions) -> Loaded:
    """Read, merge, check and normalise a project's files. Raises LoadError for errors in them."""
    collecting = gc.isenabled()
    gc.disable()  # loading creates many objects and no cycles; collecting garbage would take a third of the time
    try:
        return _tree(options)
    except LoadError as error:
        raise_all(_with_further_errors(options, error))
        raise
    finally:
        if collecting:
            gc.enable()


def _tree(options: LoadOptions) -> Loaded:
    loaded, root = _model(options)
    return _project(options, loaded, root)


def _with_further_errors(options: LoadOptions, error: LoadError) -> list[LoadError]:
    """The error together with those that later stages would find, so that all invalid values are reported at once.

    The files are loaded again without the entries known to be invalid, up to the last stage that checks values.
    """
    found = list(each(error))
    while len(found) < REPORTED:
        origins = [one.origin for one in found]
        skipped = {(o.file, o.line, o.column) for o in origins if isinstance(o, Origin) and o.line}
        if len(skipped) < len({str(origin) for origin in origins}):
            break  # without a position there is nothing to skip
        try:
            loaded, root = _model(options, skipped)
            raise_all(_bound(root, loaded)[1])
            break
        except LoadError as other:
            known = {str(origin) for origin in origins}
            placed = [one for one in each(other) if isinstance(one.origin, Origin) and one.origin.line]
            more = [one for one in placed if str(one.origin) not in known and not one.missing]
            if not more:
                break
            found += more
    return found


def load_model(options: LoadOptions) -> Loaded:
    """The merged tree in long form, before the canonical form: what `config --no-interpolate` and `--variables`
    show."""
    loaded, root = _model(options)
    loaded.tree = root
    return loaded


def load(options: LoadOptions) -> Project:
    """As load_tree, but returns the typed model."""
    from composer.model import Project

    return Project.from_loaded(load_tree(options))


def project_name(options: LoadOptions) -> str:
    """The project's name; reads only what is needed for it."""
    if options.project_name:
        return sources.checked_name(options.project_name)
    loaded = _empty()
    found = sources.located(options, loaded.inputs, loaded.warnings.append)
    named = found.environment.get("COMPOSE_PROJECT_NAME")
    if named:
        return sources.checked_name(named)
    if not found.files:
        raise _no_file()
    return _name(options, found, loaded)


def _bound(root: Map, loaded: Loaded) -> tuple[Map, list[LoadError]]:
    from composer.load.resolve.bind import bound

    return bound(root, loaded.name)


def _model(options: LoadOptions, skipped: set[tuple[str, int, int]] | None = None) -> tuple[Loaded, Map]:
    from composer.load.merge.extends import extend_all
    from composer.load.merge.include import include_all
    from composer.load.merge.layers import Layers, Reading
    from composer.load.notice import not_silenced
    from composer.load.resolve.normalise import normalised

    loaded = _empty()
    found = sources.located(options, loaded.inputs, loaded.warnings.append)
    if not found.files:
        raise _no_file()
    home = found.environment.get("HOME", "")
    reading = Reading(options, loaded.inputs, loaded.warnings.append, home, extend=extend_all, include=include_all)
    reading.skipped = skipped or set()
    name = _name(options, found, loaded, reading)
    found.environment["COMPOSE_PROJECT_NAME"] = name
    # without interpolation Compose knows no other variable: `- NAME` stays as it is
    environment = Environment(
        found.environment if options.interpolate else {"COMPOSE_PROJECT_NAME": name}, loaded.inputs
    )
    root = Layers(reading, found.files, found.folder, environment).tree()
    if not root:
        raise LoadError("empty compose file", found.files[0])
    if not name:
        raise LoadError("project name must not be empty", None, "give one with -p or `name:`")
    loaded.warnings[:] = not_silenced(loaded.warnings, root, found.environment)
    loaded.contents = {
        place: text for place, text in reading.contents.items() if _variable(root, place) not in environment
    }
    if options.normalize:
        normalised(root, name, environment)
    loaded.name, loaded.working_dir, loaded.compose_files = name, found.folder, found.files
    loaded.profiles = found.profiles
    loaded.environment = environment if options.interpolate else Environment(found.environment, loaded.inputs)
    return loaded, root


def _variable(root: Map, place: tuple[str, str]) -> object:
    kind, name = place
    entry = (root.get(kind) or {}).get(name)
    return entry.get("environment") if isinstance(entry, Map) else None


def _project(options: LoadOptions, loaded: Loaded, root: Map) -> Loaded:
    from composer.load.check.consistency import contradictions, scaled
    from composer.load.resolve.fingerprint import service_hash

    tree, errors = _bound(root, loaded)
    raise_all(errors)
    loaded.tree = tree
    select.by_profile(tree["services"], loaded.disabled, loaded.profiles)
    if "jobs" in tree:
        select.by_profile(tree["jobs"], loaded.disabled_jobs, loaded.profiles)
    if options.consistency:
        raise_all(contradictions(tree, loaded.disabled))
        scaled(tree)
    if options.services:
        loaded.profiles = select.activated(options.services, tree["services"], loaded.disabled, loaded.profiles)
        select.by_profile(tree["services"], loaded.disabled, loaded.profiles)
        select.named(tree, loaded.disabled, options.services)
    label_files = {name: service.get("label_file", ()) for name, service in tree["services"].items()}
    _read_env_files(options, loaded, root)
    if not tree.get("jobs", True):
        del tree["jobs"]
    if options.consistency:
        _check_shared_names(options, loaded)
    platform = loaded.environment.get("DOCKER_DEFAULT_PLATFORM") or ""
    loaded.hashes = {
        name: service_hash(service, platform, label_files[name]) for name, service in tree["services"].items()
    }
    if not options.all_resources:
        select.needed(tree)
    for secret in tree.get("secrets", {}).values():
        secret.pop("content", None)
    for config in tree.get("configs", {}).values():
        if "environment" in config:
            config.pop("content", None)
    return loaded


def _read_env_files(options: LoadOptions, loaded: Loaded, root: Map) -> None:
    """Add the content of env files and label files to services and jobs."""
    from composer.load.notice import not_silenced
    from composer.load.resolve.env_files import Files

    warnings: list[str] = []
    files = Files(loaded.tree, loaded.environment, loaded.inputs, warnings.append)
    for section in ("services", "jobs"):
        for name in loaded.tree.get(section, ()):
            files.resolve(section, name, environment=options.resolve_environment)
    loaded.warnings += not_silenced(warnings, root, loaded.environment)
    if not options.defer:
        raise_all(error for _, error in files.errors)
    for name, error in files.errors:
        loaded.refused[name] = (*loaded.refused.get(name, ()), str(error))


def _check_shared_names(options: LoadOptions, loaded: Loaded) -> None:
    from composer.load.check.consistency import shared_names

    shared = shared_names(loaded.tree)
    if not options.defer:
        raise_all(error for _, _, error in shared)
    for name, other, error in shared:
        loaded.clashes.setdefault(name, {})[other] = str(error)


def _name(options: LoadOptions, found: Sources, loaded: Loaded, reading: Reading | None = None) -> str:
    from composer.load.naming import name_in_files

    if options.project_name:
        return sources.checked_name(options.project_name)
    if found.environment.get("COMPOSE_PROJECT_NAME"):
        return sources.checked_name(found.environment["COMPOSE_PROJECT_NAME"])
    name = name_in_files(options, found, loaded, reading)
    if name:
        return normalised(name) if options.normalize else name
    return normalised(os.path.basename(found.place))


def _no_file() -> LoadError:
    return sources.NoFileError(
        "no configuration file provided: not found", None, f"write {sources.FILE_NAMES[0]} here, or name a file with -f"
    )


def _empty() -> Loaded:
    return Loaded(name="", working_dir="", compose_files=(), tree=Map())
