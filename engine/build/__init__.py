"""Building images from Dockerfiles: lex → parse → instructions → stages → execute, with a cache of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.build.builder import Builder
    from engine.build.execute import RunStep
    from engine.image.images import ImageStore
    from engine.spec.image import BuildSpec, BuildWarning, ImageRecord
    from engine.spec.outline import Outline, Targets


def build(
    spec: BuildSpec,
    *,
    images: ImageStore,
    run: RunStep,
    pull: Callable[[str, str], ImageRecord] | None = None,
    progress: Callable[[dict[str, object]], None] | None = None,
) -> ImageRecord:
    """Build what `spec` asks for, record and tag it.

    With several platforms, it builds an image for each under the same tags, and returns the one for this machine, or
    else the first. `run` executes RUN instructions, `pull` (name, platform) fetches images that are not in the store
    (None: they must be); both may be called from other threads than the caller's. Events are those of
    engine.build.progress. The same inputs give the same image. Raises BuildFailed for errors in the Dockerfile or its
    instructions, Unsupported, and what the parts raise; layers of earlier steps stay in the cache. The build is recorded
    (engine.build.journal).
    """
    from engine.build.builder import Builder, Finished
    from engine.build.journal import Journal
    from engine.build.platforms import build_each

    with Journal(images.store.roots, spec, progress) as journal:
        finished: list[Finished] = []

        def build_one(one: BuildSpec, title: str = "") -> ImageRecord:
            return Builder(one, images, run, pull, journal.take, title, finished, journal.explain).run()

        journal.image = build_each(spec, images, build_one) if len(spec.platforms) > 1 else build_one(spec)
        return journal.image


def lock(spec: BuildSpec, *, images: ImageStore, pinned: Callable[[str], str]) -> dict[str, str]:
    """The sources that the build fetches, and the current version of each; see `engine.build.locking.lock`."""
    from engine.build import locking

    return locking.lock(spec, images=images, pinned=pinned)


def outline_of(spec: BuildSpec, *, images: ImageStore) -> Outline:
    """The inputs that the target of `spec` accepts: arguments, secrets, SSH agents. Raises BuildFailed as a build
    does."""
    return _unbuilt(spec, images).outline()


def targets(spec: BuildSpec, *, images: ImageStore) -> Targets:
    """The stages of the Dockerfile of `spec`. Raises BuildFailed if it cannot be parsed."""
    return _unbuilt(spec, images).targets()


def examine(spec: BuildSpec, *, images: ImageStore) -> list[BuildWarning]:
    """Check the Dockerfile of `spec` by BuildKit's rules, without building it. Returns the warnings.

    Raises BuildFailed for a Dockerfile that cannot be built.
    """
    return _unbuilt(spec, images).check()


def _unbuilt(spec: BuildSpec, images: ImageStore) -> Builder:
    from engine.build.builder import Builder

    def never(request: object, output: object, warn: object) -> int:
        raise AssertionError("nothing is built")

    return Builder(spec, images, never, None, None)


def context_paths_of(dockerfile: str, contexts: Mapping[str, str], *, images: ImageStore) -> list[str] | None:
    """The paths of the context that the Dockerfile at the path `dockerfile` can read; None if it may be any. `contexts`
    are the additional ones. Raises BuildFailed, OSError."""
    from engine.build.context_paths import context_paths
    from engine.build.lex import lex

    with open(dockerfile, encoding="utf-8", errors="replace") as file:
        return context_paths(lex(file.read(), dockerfile), contexts, images.get)
