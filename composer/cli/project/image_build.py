"""`image build`: one image from a Dockerfile, without a compose file, by the flags of docker build."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.commands.exec import environment
from composer.cli.errors import CommandError, UsageError
from composer.cli.project.builds import proxies
from composer.cli.render.progress import State
from engine import quantities
from engine.spec.container import Ulimit
from engine.spec.image import BuildSecret, BuildSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context

SECRET_KEYS = {"id": "id", "src": "file", "source": "file", "env": "environment"}


def build(context: Context, args: Args) -> int:
    """Build, and print the id with --quiet. CommandError for a failed build, UsageError for a wrong flag."""
    spec = _spec(args, context.environ)
    if args.check:
        warnings = context.engine.check_build(spec)
        said = {0: "no warnings found.", 1: "1 warning has been found!"}
        print(f"Check complete, {said.get(len(warnings), f'{len(warnings)} warnings have been found!')}")
        print("".join(f"\n{warning.text}" for warning in warnings), end="")
        return 1 if warnings else 0
    name = next(iter(spec.tags), spec.context)
    step = f"Image {name}"
    with context.progress("Building", quiet=args.quiet) as progress:
        progress.update(step, "Building")
        record = (
            context.engine.build(spec, progress=lambda event: progress.build(step, event))
            if not context.dry_run
            else None
        )
        progress.update(step, "Built", State.DONE)
    if record is None:
        return 0
    if args.iidfile:
        with open(args.iidfile, "w", encoding="ascii") as file:
            file.write(record.id)
    if args.push:
        from composer.cli.project.transfers import push_images

        for tag in spec.tags:
            push_images(context, tag, quiet=args.quiet)
    if args.quiet or not spec.tags:
        print(record.id)
    return 0


def _spec(args: Args, environ: Mapping[str, str]) -> BuildSpec:
    place = args.positional[0]
    if place == "-":
        raise CommandError(
            "a context on stdin is not supported here: give a folder, a Git repository or the URL of an archive"
        )
    remote = "://" in place or place.startswith(("git@", "github.com/"))
    if not remote and not os.path.isdir(place):
        raise CommandError(f"unable to prepare context: path {place!r} not found")
    folder = place if remote else os.path.abspath(place)
    inline = sys.stdin.read() if args.file == "-" else None
    dockerfile = args.file if inline is None and args.file else ""
    if dockerfile and not remote:
        dockerfile = os.path.relpath(os.path.abspath(dockerfile), folder)
    if args.push and not args.tag:
        raise UsageError("--push needs a name: give --tag")
    secrets = tuple(_secret(text) for text in args.secret)
    needed = {"SOURCE_DATE_EPOCH", "SSH_AUTH_SOCK", *(secret.environment for secret in secrets)}
    return BuildSpec(
        context=folder,
        dockerfile=dockerfile or "Dockerfile",
        dockerfile_inline=inline,
        tags=tuple(args.tag),
        args={**proxies(environ), **environment(args.build_arg, environ)},
        target=args.target,
        labels=_pairs(args.label),
        platforms=tuple(one for text in args.platform for one in text.split(",")),
        additional_contexts=_pairs(args.build_context),
        no_cache=args.no_cache,
        no_cache_filter=tuple(one for text in args.no_cache_filter for one in text.split(",")),
        pull=args.pull,
        network="" if args.network == "default" else args.network,
        extra_hosts=tuple(_host(text) for text in args.add_host),
        entitlements=tuple(args.allow),
        shm_size=_size(args.shm_size),
        ulimits=tuple(_ulimit(text) for text in args.ulimit),
        secrets=secrets,
        ssh=tuple(args.ssh),
        environ={name: environ[name] for name in sorted(needed) if name in environ},
    )


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    return dict(text.partition("=")[::2] for text in texts)


def _size(text: str) -> int:
    try:
        return quantities.size(text) if text else 0
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--shm-size" flag: {error}') from None


def _host(text: str) -> tuple[str, str]:
    name, separator, address = text.replace("=", ":", 1).partition(":")
    if not name or not separator or not address:
        raise UsageError(f'bad format for add-host: "{text}"')
    return name, address.strip("[]")


def _ulimit(text: str) -> Ulimit:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
    except ValueError:
        raise UsageError(f'invalid argument "{text}" for "--ulimit" flag: expected NAME=SOFT[:HARD]') from None


def _secret(text: str) -> BuildSecret:
    """`id=NAME[,src=PATH|,env=NAME]`; without a source the variable, else the file, of that name."""
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key == "type" and value in ("file", "env"):
            continue
        if key not in SECRET_KEYS or not equals:
            raise UsageError(f'invalid argument "{text}" for "--secret" flag: unexpected {part!r}')
        found[SECRET_KEYS[key]] = value
    if not found.get("id"):
        raise UsageError(f'invalid argument "{text}" for "--secret" flag: id is missing')
    if "file" not in found and "environment" not in found:
        found["environment" if found["id"] in os.environ else "file"] = found["id"]
    if "file" in found:
        found["file"] = os.path.abspath(os.path.expanduser(found["file"]))
    return BuildSecret(**found)
