"""Transformations: images that turn a project into files of another kind (docs.docker.com, "Compose Bridge").

A container of the image reads /in/compose.yaml, which has all image names, exposed ports, and the contents of secrets
and configs, and the user's /templates, if any. It writes to /out.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.errors import CommandError
from composer.cli.parsing.flags import parse
from composer.load.tree.nodes import Sequence

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.image import ImageRecord

DEFAULT = "docker/compose-bridge-kubernetes"
BASE = "docker/compose-bridge-transformer"
LABEL, MEANT = "com.docker.compose.bridge", "transformation"


def convert(context: Context, images: list[str], output: str, templates: str) -> int:
    """Run the transformations one after the other on the project; the exit code of the first that fails."""
    from composer.cli.render.layout import to_yaml

    text = to_yaml(_complete(context)).replace("$", "$$")
    out = os.path.abspath(output)
    _check_output(out)
    if templates and not os.path.isdir(templates):
        raise CommandError(f"no such directory: {templates}")
    if context.dry_run:
        return 0
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    with tempfile.TemporaryDirectory(prefix="compose-convert-") as folder:
        with open(os.open(f"{folder}/compose.yaml", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        binds = [f"{folder}:/in", f"{out}:/out"]
        if templates:
            binds.append(f"{os.path.abspath(templates)}:/templates")
        for image in images:
            if code := _transform(context, image, binds):
                return code
    return 0


def _transform(context: Context, image: str, binds: list[str]) -> int:
    from composer.cli.commands.container import GROUP
    from composer.cli.parsing.flags import Group

    found = GROUP.find("run")
    assert not isinstance(found, Group)
    command, run = found
    words = ["--rm", "--user", str(os.getuid()), "--env", "LICENSE_AGREEMENT=true"]
    words += [word for bind in binds for word in ("--volume", bind)]
    return run(context, parse(command.flags, [*words, image], interspersed=False))


def _check_output(out: str) -> None:
    """Raises CommandError for a folder that must not be replaced: the working directory, a parent of it, or a file."""
    here = os.path.realpath(os.getcwd())
    real = os.path.realpath(out)
    if here == real or here.startswith(real.rstrip("/") + "/"):
        raise CommandError(f"cannot replace {out}: the current folder is in it\nName another folder with --output.")
    if os.path.lexists(out) and not os.path.isdir(out):
        raise CommandError(f"cannot write to {out}: it is not a directory")


def _complete(context: Context) -> Any:
    """The project's tree, completed with information that a transformation cannot look up."""
    from composer.load.project import load_tree

    loaded = load_tree(context.load_options().replace(defer=False))
    for name, service in (loaded.tree.get("services") or {}).items():
        image = service.get("image") or f"{loaded.name}-{name}"
        record = _image(context, name, image, built=bool(service.get("build")) and not service.get("image"))
        service["image"] = image
        exposed = {str(port) for port in service.get("expose") or ()}
        exposed |= {port.partition("/")[0] for port in (record.config.exposed_ports if record else ())}
        exposed |= {str(port["target"]) for port in service.get("ports") or ()}
        if exposed:
            service["expose"] = Sequence(sorted(exposed))
    for section in ("secrets", "configs"):
        for entry in (loaded.tree.get(section) or {}).values():
            if entry and not entry.get("external"):
                _fill(entry, loaded.environment)
    return loaded.tree


def _image(context: Context, service: str, image: str, *, built: bool) -> ImageRecord | None:
    record = context.engine.image(image)
    if record is None and built:
        context.warn(
            f"image {image} for service {service} not found locally; Dockerfile-exposed ports will not be included — run "
            "`composer build` first to include them"
        )
    elif record is None and not context.dry_run:
        from composer.cli.project.transfers import pull_image

        pull_image(context, image)
        record = context.engine.image(image)
    return record


def _fill(entry: Any, environment: Any) -> None:
    """The content of a secret or config. CommandError."""
    if entry.get("environment"):
        entry["content"] = environment.get(entry["environment"]) or ""
    elif entry.get("file"):
        try:
            with open(entry["file"], encoding="utf-8") as file:
                entry["content"] = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read {entry['file']}: {getattr(error, 'strerror', None) or error}") from error


def listing(context: Context, *, as_json: bool, quiet: bool) -> str:
    """The transformations among the images here."""
    from composer.cli.render.table import table
    from composer.view.images import familiar
    from composer.view.units import human_size

    found = [image for image in context.engine.images() if image.config.labels.get(LABEL) == MEANT]
    if quiet:
        return "".join(f"{familiar(image.tags[0]) if image.tags else image.id}\n" for image in found)
    if as_json:
        rows = [
            {
                "Id": one.id,
                "RepoTags": [familiar(tag) for tag in one.tags],
                "Labels": one.config.labels,
                "Size": one.size,
            }
            for one in found
        ]
        return json.dumps(rows) + "\n"
    lines = []
    for image in found:
        name, _, tag = familiar(image.tags[0]).rpartition(":") if image.tags else ("<none>", "", "<none>")
        lines.append((image.id.removeprefix("sha256:")[:12], name, tag, human_size(image.size)))
    return table([("IMAGE ID", "REPO", "TAGS", "SIZE"), *lines])


def create(context: Context, path: str, image: str) -> int:
    """Create a folder from which the user can build a transformation, with the templates of an existing one."""
    from composer.cli.commands.container import GROUP
    from composer.cli.commands.cp import copy_from
    from composer.cli.parsing.flags import Group
    from composer.cli.project.direct_changes import CAUSE, perform
    from composer.cli.project.standalone import create as made
    from composer.plan.operations import Remove

    out = os.path.abspath(path)
    if os.path.lexists(out):
        raise CommandError(f"output folder {out} already exists")
    if context.dry_run:
        return 0
    found = GROUP.find("create")
    assert not isinstance(found, Group)
    record = made(context, parse(found[0].flags, [image], interspersed=False))
    try:
        os.makedirs(out)
        copy_from(context, record, "/templates", f"{out}/templates", follow=False, archive=False)
        with open(f"{out}/Dockerfile", "w", encoding="utf-8") as file:
            file.write(f"FROM {BASE}\nLABEL {LABEL}={MEANT}\nCOPY templates /templates\n")
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    finally:
        remove = Remove(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, volumes=True, force=True)
        perform(context, record.group, [remove])
    print(f'Transformer created in "{out}"')
    return 0
