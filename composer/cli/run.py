"""composer run: a container of its own for one command of a service, with the service's dependencies; its exit code is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.flags import Command, Flag

if TYPE_CHECKING:
    pass

COMMAND = Command(
    "run",
    "Run a one-off command on a service",
    "run [OPTIONS] SERVICE [COMMAND] [ARGS...]",
    (
        Flag("build", "Build the image first"),
        Flag("cap-add", "Add Linux capabilities", "strings", metavar="list"),
        Flag("cap-drop", "Drop Linux capabilities", "strings", metavar="list"),
        Flag("detach", "Run the container in the background and print its name", short="d"),
        Flag("entrypoint", "Instead of the image's entrypoint", "string"),
        Flag("env", "Set environment variables: NAME=VALUE, or NAME for our own value", "strings", short="e"),
        Flag("env-from-file", "Set environment variables from a file", "strings"),
        Flag("interactive", "Keep STDIN open even if not attached", short="i", default=True),
        Flag("label", "Add or replace a label", "strings", short="l"),
        Flag("name", "The container's name", "string"),
        Flag("no-deps", "Do not start the services that this one depends on"),
        Flag("no-tty", "Do not allocate a pseudo-TTY; by default there is one when we have one", short="T"),
        Flag("publish", "Publish a port of the container on the host", "strings", short="p"),
        Flag("pull", 'Pull the image first ("always"|"missing"|"never")', "string", default="policy"),
        Flag("quiet", "Show nothing but the command's output", short="q"),
        Flag("quiet-build", "Do not show the build's output"),
        Flag("quiet-pull", "Pull without showing progress"),
        Flag("remove-orphans", "Remove containers of services that the project does not have"),
        Flag("rm", "Remove the container when it ends"),
        Flag("service-ports", "Publish the service's ports", short="P"),
        Flag("tty", "Allocate a pseudo-TTY", short="t", default=True, hidden=True),
        Flag("use-aliases", "Give the container the service's names on its networks"),
        Flag("user", "Run as this user name or uid", "string", short="u"),
        Flag("volume", "Mount a host path or a volume", "strings", short="v"),
        Flag("workdir", "Working directory inside the container", "string", short="w"),
    ),
    positional=(1, None),
    interspersed=False,
)
