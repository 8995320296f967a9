"""The content of an image as found by a scanner (BuildKit, docs/attestations/sbom-protocol.md): an image that runs as a
step of a separate build, or a program on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import structs

from engine.bounded_read import read_bytes
from engine.build.attest.options import Sbom
from engine.build.sources import IMAGE_SCHEME
from engine.errors import BuildFailed, EngineError, OperationFailed
from engine.image import attached
from engine.image.attached import Attestation
from engine.image.images import ImageStore
from engine.image.merged import merged
from engine.image.tree import Tree
from engine.spec.image import BuildSpec, ImageRecord

SPDX = "https://spdx.dev/Document"
_OUT, _SOURCE = "/run/out", "/run/src"
_CORE = "sbom"
_ENV = "BUILDKIT_SCAN_"

Build = Callable[[BuildSpec], ImageRecord]
"""Builds another image with the same engine."""


def attest(
    options: Sbom, spec: BuildSpec, images: ImageStore, record: ImageRecord, extras: Mapping[str, str], build: Build
) -> list[Attestation]:
    """Scan the image, and `extras`: name → another tree, given as an additional context. Raises BuildFailed."""
    if options.generator.startswith(("/", "./", "../")):
        return _by_program(options, images, record)
    return _by_image(options, spec, images, record, extras, build)


def _by_image(
    options: Sbom, spec: BuildSpec, images: ImageStore, record: ImageRecord, extras: Mapping[str, str], build: Build
) -> list[Attestation]:
    contexts = {_CORE: f"{IMAGE_SCHEME}{record.id}", **extras}
    scanner = build(_pulled(options, spec))
    command = [*scanner.config.entrypoint, *scanner.config.command]
    if not command:
        raise BuildFailed(f"sbom: the scanner {options.generator} has no command")
    variables = {f"{_ENV}DESTINATION": _OUT, f"{_ENV}SOURCE": f"{_SOURCE}/core/{_CORE}"}
    if extras:
        variables[f"{_ENV}SOURCE_EXTRAS"] = f"{_SOURCE}/extras/"
    variables |= {f"{_ENV}{name}": value for name, value in options.parameters.items()}
    places = {name: f"{_SOURCE}/{'core' if name == _CORE else 'extras'}/{name}" for name in contexts}
    lines = [
        f"FROM {options.generator}",
        *(f"ENV {name}={json.dumps(value).replace('$', chr(92) + '$')}" for name, value in variables.items()),
        f"WORKDIR {_OUT}",
        f"WORKDIR {scanner.config.working_dir or '/'}",
        "USER 0",
        "RUN "
        + " ".join(f"--mount=type=bind,from={name},target={place}" for name, place in places.items())
        + f" --mount=type=tmpfs,target=/tmp {json.dumps(command)}",
    ]
    before = {one.id for one in images.all()}
    made = build(
        structs.replace(_pulled(options, spec), dockerfile_inline="\n".join(lines), additional_contexts=contexts)
    )
    try:
        with merged([images.layers.path(layer) for layer in made.layers]) as root, Tree(root, "the scanner") as tree:
            return [_statement(data) for data in _results(tree)]
    finally:
        for one in {scanner.id, made.id} - before:
            with contextlib.suppress(EngineError):
                images.remove(one)


def _pulled(options: Sbom, spec: BuildSpec) -> BuildSpec:
    """A build of the scanner itself, which fetches it and shows its configuration."""
    return BuildSpec(
        context=spec.context,
        dockerfile="sbom",
        dockerfile_inline=f"FROM {options.generator}\n",
        pull=spec.pull,
        resources=spec.resources,
        environ={},
        pins=spec.pins,
    )


def _results(tree: Tree) -> Iterator[bytes]:
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree.directory(_OUT.lstrip("/")))
    try:
        names = sorted(os.listdir(folder))
    finally:
        os.close(folder)
    found = 0
    for name in names[: attached.MOST]:
        path = f"{_OUT.lstrip('/')}/{name}"
        status = tree.lstat(path)
        if status is None or not stat.S_ISREG(status.st_mode) or not name.endswith(".json"):
            continue
        data = tree.read(path, attached.LIMIT)
        if data is not None:
            found += 1
            yield data
    if not found:
        raise BuildFailed(f"sbom: the scanner wrote no file *.spdx.json into {_OUT}")


def _by_program(options: Sbom, images: ImageStore, record: ImageRecord) -> list[Attestation]:
    """The program sees the image's files under a descriptor that it inherits."""
    path = os.path.abspath(options.generator)
    folders = [images.layers.path(layer) for layer in record.layers]
    with tempfile.TemporaryDirectory(prefix="composer-sbom-") as out, contextlib.ExitStack() as stack:
        if not folders:
            folders = [stack.enter_context(tempfile.TemporaryDirectory())]
        root = stack.enter_context(merged(folders))
        environ = {
            **os.environ,
            f"{_ENV}DESTINATION": out,
            f"{_ENV}SOURCE": f"/proc/self/fd/{root}",
            **{f"{_ENV}{name}": value for name, value in options.parameters.items()},
        }
        try:
            done = subprocess.run([path], env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                                  pass_fds=(root,))  # fmt: skip
        except OSError as error:
            raise OperationFailed.of("run the scanner", path, error) from error
        if done.returncode:
            output = done.stderr.decode("utf-8", "replace").strip()[-2000:]
            raise BuildFailed(
                f"sbom: {path} failed with exit code {done.returncode}" + (f":\n{output}" if output else "")
            )
        found = [
            _statement(read_bytes(f"{out}/{name}", attached.LIMIT, "an SBOM"))
            for name in sorted(os.listdir(out))[: attached.MOST]
            if name.endswith(".json") and not os.path.islink(f"{out}/{name}")
        ]
    if not found:
        raise BuildFailed(f"sbom: {path} wrote no file *.spdx.json into ${_ENV}DESTINATION")
    return found


def _statement(data: bytes) -> Attestation:
    """An in-toto statement, or a bare SPDX document. Raises ImageError."""
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BuildFailed(f"sbom: the scanner's result is not JSON: {error}") from error
    if isinstance(plain, dict) and "spdxVersion" in plain:
        return Attestation(SPDX, msgspec.Raw(msgspec.json.encode(plain)))
    return attached.parse_statement(data, "the scanner's result")
