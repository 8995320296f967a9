"""`image build`: build an image from a Dockerfile, without a compose file, with the flags of docker build."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from msgspec import structs

from composer.cli.commands.exec import environment
from composer.cli.errors import CommandError, InvalidArgument, UsageError
from composer.cli.parsing import attestations, build_output
from composer.cli.parsing.flag_values import byte_size, ulimit
from composer.cli.parsing.options import check_progress
from composer.cli.project import build_metadata as metadata
from composer.cli.project import image_outputs
from composer.cli.project.builds import proxies
from composer.cli.render.progress import State
from composer.plan.lock import full_name
from engine.errors import BadReference
from engine.spec.build_record import new_ref
from engine.spec.container import Resources, Ulimit
from engine.spec.image import BuildSecret, BuildSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context
    from engine.spec.image import ImageRecord

ENTITLEMENTS = ("network.host", "security.insecure")
SECRET_KEYS = {"id": "id", "src": "file", "source": "file", "env": "environment"}


def build(context: Context, args: Args) -> int:
    """Build, and print the id with --quiet. CommandError for a failed build, UsageError for a wrong flag."""
    outputs = build_output.parse(args.output, push=args.push, load=args.load)
    stored = any(output.is_stored for output in outputs)
    tags = tuple(dict.fromkeys((*args.tag, *(name for output in outputs if output.is_stored for name in output.names))))
    image_outputs.check(outputs, args.tag)
    if args.metadata_file:
        metadata.check(context.environ)
    _progress(context, args)
    with contextlib.ExitStack() as stack:
        spec = _spec(args, context.environ, stack)
        spec = structs.replace(
            spec,
            tags=tags if stored else (),
            annotations=(*spec.annotations, *(one for output in outputs for one in output.annotations)),
        )
        if args.check or args.call.partition(",")[0] != "build":
            from composer.cli.project.build_call import answer

            return answer(context, args.call if not args.check else "check", spec)
        spec = structs.replace(spec, ref=new_ref())
        before = set() if stored else {image.id for image in context.engine.images()}
        record = _build(context, spec, next(iter(tags), "") or spec.context, quiet=args.quiet)
        if record is None:
            return 0
        try:
            image_outputs.export(context, outputs, record, args.tag, quiet=args.quiet)
            if args.iidfile:
                image_outputs.write(args.iidfile, record.id)
            if args.metadata_file:
                metadata.write(context, args.metadata_file, spec.ref, record, tags or args.tag)
        finally:
            if not stored:
                # Its layers stay in the build cache.
                context.engine.prune_images([one for one in (record.id, *record.others.values()) if one not in before])
    if stored and (args.quiet or not tags) and not any(output.dest == "-" for output in outputs):
        print(record.id)
    return 0


def _progress(context: Context, args: Args) -> None:
    """--progress, with buildx's names for ours. UsageError."""
    mode = {"rawjson": "json", "none": "quiet"}.get(args.progress, args.progress)
    check_progress(mode)
    if mode:
        context.options.progress = mode


def _build(context: Context, spec: BuildSpec, name: str, *, quiet: bool) -> ImageRecord | None:
    """None with --dry-run."""
    step = f"Image {name}"
    with context.progress("build", quiet=quiet) as progress:
        progress.update(step, "Building")
        record = None
        if not context.dry_run:
            record = context.engine.build(spec, progress=lambda event: progress.build(step, event))
        progress.update(step, "Built", State.DONE)
    return record


def _spec(args: Args, environ: Mapping[str, str], stack: contextlib.ExitStack) -> BuildSpec:
    """`stack` keeps a context from stdin until the build is over. CommandError, UsageError."""
    folder, dockerfile = _located(args)
    inline = sys.stdin.read() if args.file == "-" else None
    secrets = tuple(_secret(text) for text in args.secret)
    needed = {"SOURCE_DATE_EPOCH", "SSH_AUTH_SOCK", *(secret.environment for secret in secrets)}
    provenance, sbom = attestations.options(args)
    return BuildSpec(
        context=folder,
        archive=_stdin(stack) if folder == "-" else "",
        dockerfile=dockerfile or ("Dockerfile" if inline is None else "stdin"),
        dockerfile_inline=inline,
        args={**proxies(environ), **environment(args.build_arg, environ)},
        target=args.target,
        labels=_pairs(args.label),
        annotations=tuple(_annotation(text) for text in args.annotation),
        platforms=tuple(one for text in args.platform for one in text.split(",")),
        additional_contexts=_contexts(args.build_context),
        cache_from=tuple(args.cache_from),
        cache_to=tuple(args.cache_to),
        no_cache=args.no_cache,
        no_cache_filter=tuple(one for text in args.no_cache_filter for one in text.split(",")),
        pull=args.pull,
        network="" if args.network == "default" else args.network,
        extra_hosts=tuple(_host(text) for text in args.add_host),
        entitlements=tuple(_entitlement(text) for text in args.allow),
        shm_size=byte_size("--shm-size", args.shm_size),
        ulimits=tuple(Ulimit(name=name, soft=soft, hard=hard) for name, soft, hard in map(ulimit, args.ulimit)),
        resources=_resources(args),
        cgroup_parent=args.cgroup_parent,
        provenance=provenance,
        sbom=sbom,
        secrets=secrets,
        ssh=tuple(args.ssh),
        environ={name: environ[name] for name in sorted(needed) if name in environ},
    )


def _located(args: Args) -> tuple[str, str]:
    """The context (a directory, URL or "-"), and the Dockerfile relative to it or "". CommandError, UsageError."""
    place = args.positional[0]
    if place == "-" and args.file == "-":
        raise UsageError("invalid argument: can't use stdin for both build context and dockerfile")
    dockerfile = args.file if args.file != "-" else ""
    if place == "-" or "://" in place or place.startswith(("git@", "github.com/")):
        return place, dockerfile
    if not os.path.isdir(place):
        raise CommandError(f"unable to prepare context: path {place!r} not found")
    folder = os.path.abspath(place)
    if dockerfile and not dockerfile.startswith(("http://", "https://")):
        dockerfile = os.path.relpath(os.path.abspath(dockerfile), folder)
    return folder, dockerfile


def _stdin(stack: contextlib.ExitStack) -> str:
    """A copy of stdin, by a name that is valid as long as `stack`. CommandError."""
    if sys.stdin.isatty():
        raise CommandError(
            "a build context is expected on stdin, which is a terminal: redirect an archive or a Dockerfile"
        )
    try:
        file = stack.enter_context(tempfile.TemporaryFile())
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        file.flush()
    except OSError as error:
        raise CommandError(f"cannot read the build context from stdin: {error.strerror}") from None
    return f"/proc/self/fd/{file.fileno()}"


def _resources(args: Args) -> Resources:
    try:
        cpus = float(args.cpus or 0)
    except ValueError:
        raise InvalidArgument(args.cpus, "--cpus", "expected a number") from None
    return Resources(
        cpus=cpus,
        cpu_shares=args.cpu_shares or 0,
        cpu_quota=args.cpu_quota or 0,
        cpu_period=args.cpu_period or 0,
        cpuset=args.cpuset_cpus,
        cpuset_mems=args.cpuset_mems,
        memory=byte_size("--memory", args.memory),
        memory_swap=byte_size("--memory-swap", args.memory_swap),
    )


def _contexts(texts: Iterable[str]) -> dict[str, str]:
    """NAME=PLACE: a name is that of an image or a stage. UsageError."""
    found = _pairs(texts)
    for name, place in found.items():
        if not place:
            raise UsageError(f"invalid context value: {name}, expected key=value")
        try:
            full_name(name)
        except BadReference as error:
            raise UsageError(f"invalid context name {name}: {error.message}") from None
    return found


def _annotation(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f'parse annotations: invalid annotation "{text}", expected key=value')
    return key, value


def _entitlement(text: str) -> str:
    if text not in ENTITLEMENTS:
        raise UsageError(f"unknown entitlement {text}: {', '.join(ENTITLEMENTS)}")
    return text


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    return dict(text.partition("=")[::2] for text in texts)


def _host(text: str) -> tuple[str, str]:
    name, separator, address = text.replace("=", ":", 1).partition(":")
    if not name or not separator or not address:
        raise UsageError(f'bad format for add-host: "{text}"')
    return name, address.strip("[]")


def _secret(text: str) -> BuildSecret:
    """`id=NAME[,src=PATH|,env=NAME]`; without a source the variable, else the file, of that name."""
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key == "type" and value in ("file", "env"):
            continue
        if key not in SECRET_KEYS or not equals:
            raise InvalidArgument(text, "--secret", f"unexpected {part!r}")
        found[SECRET_KEYS[key]] = value
    if not found.get("id"):
        raise InvalidArgument(text, "--secret", "id is missing")
    if "file" not in found and "environment" not in found:
        found["environment" if found["id"] in os.environ else "file"] = found["id"]
    if "file" in found:
        found["file"] = os.path.abspath(os.path.expanduser(found["file"]))
    return BuildSecret(**found)
