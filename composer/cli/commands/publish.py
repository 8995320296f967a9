"""composer publish: push the project's files to a registry as an OCI artifact, which `-f oci://…` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.load.read import oci
from composer.release import COMPOSE
from engine.spec.artifact import ArtifactKind

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.load.options import Loaded

COMMAND = command(
    "publish",
    "publish [OPTIONS] REPOSITORY[:TAG]",
    (
        Flag("app", "Also publish the images: they are copied into the same repository"),
        Flag("insecure-registry", "Use insecure registry", hidden=True),
        Flag("oci-version", "Version of the OCI specification, 1.0 or 1.1 (default: what the registry supports)", "string"),
        Flag("resolve-image-digests", "Pin image tags to digests"),
        Flag("with-env", "Include the env files in the published artifact"),
        Flag("yes", 'Assume "yes" as answer to all prompts', short="y", aliases=("y",)),
    ),
    positional=(1, 1),
)  # fmt: skip


def run(context: Context, args: Args) -> int:
    from composer.cli.project.acquire import push_services
    from composer.cli.publish.checks import check
    from composer.cli.publish.layers import Files
    from composer.cli.render.progress import State
    from composer.load.project import load_tree

    context.options.profile[:] = ["*"]
    options = context.load_options().replace(defer=False)
    loaded = load_tree(options)
    files = Files(loaded.compose_files, loaded.environment, options.streams)
    check(loaded, files, options, with_env=args.with_env, agreed=args.yes)
    push_services(context, (), ignore_failures=True)
    repository = args.positional[0]
    with context.progress("publish") as progress:
        progress.update(repository, "publishing")
        digests = _digests(context, loaded) if args.resolve_image_digests or args.app else b""
        layers = files.layers(env_files=args.with_env, digests=digests)
        if not context.dry_run:
            context.engine.publish(
                repository,
                ArtifactKind(oci.PROJECT, oci.EMPTY_CONFIG),
                layers,
                version=args.oci_version,
                images=_images(loaded) if args.app else None,
                annotations={oci.VERSION: COMPOSE},
                warn=lambda line: progress.note(f"warning: {line}"),
                insecure=(repository.partition("/")[0],) if args.insecure_registry else (),
            )
        progress.update(repository, "published", State.DONE)
    return 0


def _digests(context: Context, loaded: Loaded) -> bytes:
    """A file over the project's own that pins its images."""
    from composer.cli.project import pinning
    from composer.cli.render.layout import to_yaml

    pinning.pin(context, loaded.tree)
    return to_yaml(pinning.locked(context, loaded.tree)).encode()


def _images(loaded: Loaded) -> list[str]:
    """The images of services and jobs, each once."""
    sections = ((loaded.tree.get(section) or {}).values() for section in ("services", "jobs"))
    return sorted({service["image"] for section in sections for service in section if service.get("image")})
