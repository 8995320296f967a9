"""composer image: list, build, pull, push, save, load and remove images."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.parsing.build_flags import BUILD
from composer.cli.parsing.command_table import group
from composer.cli.parsing.flags import Args, Command, Flag
from composer.cli.render.listing import (
    FILTER,
    FORCE,
    FORMAT,
    INSPECT,
    NO_TRUNC,
    QUIET,
    ids_only,
    inspect,
    listing,
    short,
)
from composer.view import images
from composer.view.filters import Filters
from composer.view.units import human_duration, human_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from composer.cli.project.context import Context
    from engine.spec.image import ImageRecord

HEADERS = {
    "Containers": "CONTAINERS", "CreatedAt": "CREATED AT", "CreatedSince": "CREATED", "Digest": "DIGEST",
    "ID": "IMAGE ID", "Repository": "REPOSITORY", "SharedSize": "SHARED SIZE", "Size": "SIZE", "Tag": "TAG",
    "UniqueSize": "UNIQUE SIZE", "VirtualSize": "SIZE",
}  # fmt: skip
HISTORY = {
    "Comment": "COMMENT", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "CreatedSince": "CREATED", "ID": "IMAGE",
    "Size": "SIZE",
}  # fmt: skip
NONE = "<none>"
PLATFORM = Flag("platform", "Platform of the image, if the name stands for several", "string")
PLATFORMS = Flag("platform", "Only images for this platform: os[/arch[/variant]]", "strings")


def ls(context: Context, args: Args) -> int:
    filters = Filters.of_flags([*args.filter, *(f"reference={name}" for name in args.positional)], images.FILTERS)
    if args.tree:
        from composer.cli.project.image_tree import check, tree

        check(args)
        print(tree(context.engine, images.selected(context.engine, filters)), end="")
        return 0
    found = images.selected(context.engine, filters)
    if ids_only(args):
        ids = dict.fromkeys(image.id if args.no_trunc else short(image.id) for image in found)
        print("".join(f"{one}\n" for one in ids), end="")
        return 0
    wanted = filters.get("reference")
    rows = [
        row(image, repository, tag, digest, full=args.no_trunc)
        for image in found
        for repository, tag, digest in _names(image, wanted, digests=args.digests)
    ]
    columns = ("Repository", "Tag", *(["Digest"] if args.digests else []), "ID", "CreatedSince", "Size")
    print(listing(args.format, rows, HEADERS, columns), end="")
    return 0


def _names(image: ImageRecord, wanted: list[str], *, digests: bool) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of each matching name; one empty row for an image without names."""
    names = [images.familiar(tag).rpartition(":") for tag in image.tags]
    by_repository = dict(images.familiar(text).split("@", 1) for text in image.digests)
    shown = 0
    for repository, _, tag in names:
        if not wanted or any(images.is_referenced(f"{repository}:{tag}", one) for one in wanted):
            yield repository, tag, by_repository.get(repository, NONE) if digests else NONE
            shown += 1
    if not shown:
        for repository, digest in by_repository.items() or [(NONE, NONE)]:
            yield repository, NONE, digest


def row(
    image: ImageRecord, repository: str, tag: str, digest: str, *, full: bool = False, containers: str = "N/A"
) -> dict[str, str]:
    from composer.view.api_format import go_time

    return {
        "Containers": containers,
        "CreatedAt": go_time(image.created_at),
        "CreatedSince": f"{human_duration(time.time() - image.created_at)} ago" if image.created_at else "N/A",
        "Digest": digest,
        "ID": short(image.id, full=full),
        "Repository": repository,
        "SharedSize": "N/A",
        "Size": human_size(image.size),
        "Tag": tag,
        "UniqueSize": "N/A",
        "VirtualSize": human_size(image.size, 4),
    }


def show(context: Context, args: Args) -> int:
    def one(name: str) -> dict[str, object]:
        image = images.need(context.engine, name, args.platform)
        details = context.engine.image_details(image.id)
        return images.inspected(image, details) | images.attached(details)

    text, errors = inspect(args.positional, one, args.format)
    print(text, end="")
    print("".join(f"Error: {error}\n" for error in errors), end="", file=sys.stderr)
    return 1 if errors else 0


def history(context: Context, args: Args) -> int:
    from composer.cli.render.table import shorten
    from composer.view.api_format import timestamp

    steps = images.history(context.engine, images.need(context.engine, args.positional[0], args.platform))
    full = args.no_trunc
    if ids_only(args):
        print("".join(f"{short(step['Id'], full=full)}\n" for step in steps), end="")
        return 0
    rows = []
    for step in steps:
        text = step["CreatedBy"].replace("\t", " ")
        since = f"{human_duration(time.time() - step['Created'])} ago" if step["Created"] else "N/A"
        created_at = timestamp(step["Created"])
        rows.append(
            {
                "Comment": step["Comment"],
                "CreatedAt": created_at,
                "CreatedBy": text if full else shorten(text, 45),
                "CreatedSince": since if args.human else created_at,
                "ID": short(step["Id"], full=full),
                "Size": human_size(step["Size"]) if args.human else str(step["Size"]),
            }
        )
    print(listing(args.format, rows, HISTORY, ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")), end="")
    return 0


def tag(context: Context, args: Args) -> int:
    source, target = args.positional
    image = images.need(context.engine, source)
    if not context.dry_run:
        context.engine.tag_image(image.id, target)
    return 0


def rm(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import each

    def remove(name: str) -> None:
        images.check_removable(context.engine, images.need(context.engine, name), name, force=args.force)
        if not context.dry_run:
            platforms = several(args.platform)
            lines = context.engine.remove_image(name, force=args.force, platforms=platforms)
            print("".join(f"{line}\n" for line in lines), end="")

    return each(args.positional, remove)


def several(texts: list[str]) -> list[str]:
    """Platforms, each flag with one or more."""
    return [one for text in texts for one in text.split(",") if one]


def prune(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import agreed

    filters = Filters.of_flags(args.filter, images.PRUNE_FILTERS)
    removable = images.unused(context.engine, filters, everything=args.all)
    ids = [image.id for image in removable]
    lines = [f"image {', '.join(map(images.familiar, image.tags)) or short(image.id)}" for image in removable]
    lines.append(f"in all {human_size(context.engine.prune_images(ids, preview=True).size, 4)}")
    which = "all images without at least one container associated to them." if args.all else "all dangling images."
    if not agreed(context, f"This will remove {which}", lines, force=args.force):
        return 0
    print(f"Total reclaimed space: {human_size(remove_unused(context, removable), 4)}")
    return 0


def remove_unused(context: Context, removable: list[ImageRecord]) -> int:
    """Delete images and report them; returns the bytes that only they used."""
    freed = context.engine.prune_images([image.id for image in removable])
    tags = {image.id: image.tags for image in removable}
    if freed.images:
        print("Deleted Images:")
    for one in freed.images:
        print("".join(f"untagged: {images.familiar(name)}\n" for name in tags[one]), end="")
        print(f"deleted: {one}")
    print(end="\n" if freed.images else "")
    return freed.size


def pull(context: Context, args: Args) -> int:
    from composer.cli.project.transfers import pull_image

    name = args.positional[0]
    names = [name]
    if args.all_tags:
        if ":" in name.rpartition("/")[2]:
            raise CommandError("tag can't be used with --all-tags/-a")
        names = [f"{name}:{tag}" for tag in context.engine.remote_tags(name)]
    for one in names:
        print(pull_image(context, one, platform=args.platform, quiet=args.quiet))
    return 0


def push(context: Context, args: Args) -> int:
    from composer.cli.project.transfers import push_images

    push_images(context, args.positional[0], every_tag=args.all_tags, quiet=args.quiet, platform=args.platform)
    return 0


def verify(context: Context, args: Args) -> int:
    from composer.cli.project.direct_changes import each

    flags = {"keys": args.key, "subject": args.identity, "issuer": args.issuer, "trusted_root": args.trusted_root}

    def one(name: str) -> None:
        if any(flags.values()):
            print(f"{name}: signed by {context.engine.verify_image(name, **flags)}")
            return
        answers = context.engine.admit(name)
        for place, signer in answers:
            print(f"{name}: admitted by {place}{f', signed by {signer}' if signer else ''}")
        if not answers:
            print(f"{name}: no policy has a rule for it")

    return each(args.positional, one)


def save(context: Context, args: Args) -> int:
    for name in args.positional:
        images.need(context.engine, name)
    if args.output:
        from composer.cli.project.transfers import written

        with written(args.output) as fd:
            context.engine.save_images(args.positional, fd, platforms=several(args.platform))
        return 0
    if os.isatty(1):
        raise CommandError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    context.engine.save_images(args.positional, 1, platforms=several(args.platform))
    return 0


def load(context: Context, args: Args) -> int:
    from composer.cli.project.transfers import opened

    if not args.input and os.isatty(0):
        raise CommandError("requested load from stdin, but stdin is empty")
    with opened(args.input or "-") as fd:
        records = context.engine.load_images(fd, platforms=several(args.platform))
    for record in records:
        for name in record.tags or ("",):
            text = f"Loaded image: {images.familiar(name)}" if name else f"Loaded image ID: {record.id}"
            print(end="" if args.quiet else f"{text}\n")
    return 0


def import_(context: Context, args: Args) -> int:
    from composer.cli.project.transfers import opened

    source, *reference = args.positional
    with opened(source, urls=True) as fd:
        record = context.engine.import_image(
            fd, *(reference or [""]), changes=args.change, message=args.message, platform=args.platform
        )
    print(record.id)
    return 0


def build(context: Context, args: Args) -> int:
    from composer.cli.project.image_build import build as build_one

    return build_one(context, args)


GROUP = group(
    "image",
    {
        "build": (
            Command(
                "image build",
                "Build an image from a Dockerfile",
                "image build [OPTIONS] PATH|URL|-",
                BUILD,
                positional=(1, 1),
            ),
            build,
        ),
        "history": (
            Command(
                "image history",
                "Show the history of an image",
                "image history [OPTIONS] IMAGE",
                (
                    FORMAT,
                    Flag("human", "Print sizes and dates in human readable format", short="H", default=True),
                    NO_TRUNC,
                    PLATFORM,
                    QUIET,
                ),
                positional=(1, 1),
            ),
            history,
        ),
        "import": (
            Command(
                "image import",
                "Import the contents from a tarball to create a filesystem image",
                "image import [OPTIONS] FILE|- [REPOSITORY[:TAG]]",
                (
                    Flag("change", "Apply a Dockerfile instruction to the image", "strings", short="c"),
                    Flag("message", "Set a commit message", "string", short="m"),
                    Flag("platform", "Set the platform of the image", "string"),
                ),
                positional=(1, 2),
            ),
            import_,
        ),
        "inspect": (
            Command(
                "image inspect",
                "Display detailed information on one or more images",
                "image inspect [OPTIONS] IMAGE [IMAGE...]",
                (INSPECT, PLATFORM),
                positional=(1, None),
            ),
            show,
        ),
        "load": (
            Command(
                "image load",
                "Load an image from a tar archive or STDIN",
                "image load [OPTIONS]",
                (
                    Flag("input", "Read from a tar archive file, instead of STDIN", "string", short="i"),
                    PLATFORMS,
                    Flag("quiet", "Suppress the load output", short="q"),
                ),
                positional=(0, 0),
            ),
            load,
        ),
        "ls": (
            Command(
                "image ls",
                "List images",
                "image ls [OPTIONS] [REPOSITORY[:TAG]]",
                (
                    Flag("all", "Show all images (without effect: composer keeps no intermediate images)", short="a"),
                    Flag("digests", "Show digests"),
                    FILTER,
                    FORMAT,
                    NO_TRUNC,
                    QUIET,
                    Flag("tree", "List multi-platform images as a tree"),
                ),
                positional=(0, 1),
            ),
            ls,
        ),
        "prune": (
            Command(
                "image prune",
                "Remove unused images",
                "image prune [OPTIONS]",
                (
                    Flag("all", "Remove all unused images, not just dangling ones", short="a"),
                    Flag("filter", "Filter the images: until=TIME, label=KEY", "strings", metavar="filter"),
                    FORCE,
                ),
                positional=(0, 0),
            ),
            prune,
        ),
        "pull": (
            Command(
                "image pull",
                "Download an image from a registry",
                "image pull [OPTIONS] NAME[:TAG|@DIGEST]",
                (
                    Flag("all-tags", "Download all tagged images in the repository", short="a"),
                    Flag("disable-content-trust", "Deprecated, without effect", default=True, hidden=True),
                    Flag("platform", "Get the image for this platform", "string"),
                    Flag("quiet", "Suppress verbose output", short="q"),
                ),
                positional=(1, 1),
            ),
            pull,
        ),
        "push": (
            Command(
                "image push",
                "Upload an image to a registry",
                "image push [OPTIONS] NAME[:TAG]",
                (
                    Flag("all-tags", "Push all tags of an image to the repository", short="a"),
                    Flag("disable-content-trust", "Deprecated, without effect", default=True, hidden=True),
                    Flag(
                        "platform", "Push only the image for this platform, without an index and attestations", "string"
                    ),
                    Flag("quiet", "Suppress verbose output", short="q"),
                ),
                positional=(1, 1),
            ),
            push,
        ),
        "rm": (
            Command(
                "image rm",
                "Remove one or more images",
                "image rm [OPTIONS] IMAGE [IMAGE...]",
                (
                    Flag("force", "Force removal of the image", short="f"),
                    Flag("no-prune", "Without effect: composer keeps no untagged parents", hidden=True),
                    PLATFORMS,
                ),
                positional=(1, None),
            ),
            rm,
        ),
        "save": (
            Command(
                "image save",
                "Save one or more images to a tar archive (streamed to STDOUT by default)",
                "image save [OPTIONS] IMAGE [IMAGE...]",
                (Flag("output", "Write to a file, instead of STDOUT", "string", short="o"), PLATFORMS),
                positional=(1, None),
            ),
            save,
        ),
        "verify": (
            Command(
                "image verify",
                "Verify signatures of images, by the trust policy or the given keys",
                "image verify [OPTIONS] IMAGE [IMAGE...]",
                (
                    Flag("identity", "Subject that the signer's certificate must have", "string"),
                    Flag("issuer", "Issuer that must have authenticated --identity", "string"),
                    Flag("key", "Public key (PEM file) that must have signed, or one of several", "strings"),
                    Flag("trusted-root", "Sigstore trusted root: certificate authorities and logs", "string"),
                ),
                positional=(1, None),
            ),
            verify,
        ),
        "tag": (
            Command(
                "image tag",
                "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
                "image tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
                positional=(2, 2),
            ),
            tag,
        ),
    },
    {"list": "ls", "remove": "rm"},
)
