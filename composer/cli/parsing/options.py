"""The global flags, before the command's name."""

from __future__ import annotations

from composer.cli.errors import UsageError
from composer.cli.parsing.flags import Flag

PROGRESS = ("auto", "tty", "plain", "json", "quiet")

GLOBAL = (
    Flag("all-resources", "Include all resources, even those not used by services"),
    Flag(
        "ansi",
        'Control when to print ANSI control characters ("never"|"always"|"auto")',
        "string",
        default="auto",
    ),
    Flag("compatibility", "Run compose in backward compatibility mode"),
    Flag("dry-run", "Execute command in dry run mode"),
    Flag("env-file", "Specify an alternate environment file", "strings"),
    Flag("file", "Compose configuration files", "strings", short="f"),
    Flag("help", "Print usage", short="h", hidden=True),
    Flag(
        "insecure-registry",
        "Use insecure registry to pull Compose OCI artifacts",
        "strings",
        hidden=True,
    ),
    Flag("no-ansi", "Do not print ANSI control characters (DEPRECATED)", hidden=True),
    Flag("parallel", "Control max parallelism, -1 for unlimited", "int", default=-1),
    Flag("profile", "Specify a profile to enable", "strings"),
    Flag("progress", "Set type of progress output (auto, tty, plain, json, quiet)", "string"),
    Flag(
        "project-directory",
        "Specify an alternate working directory (default: the path of the, first specified, Compose file)",
        "string",
    ),
    Flag("project-name", "Project name", "string", short="p"),
    Flag("run-root", "Directory of sockets and other runtime files (also COMPOSER_RUN_ROOT)", "string"),
    Flag("state-root", "Directory of images, volumes and containers (also COMPOSER_STATE_ROOT)", "string"),
    Flag("verbose", "Show more output", hidden=True),
    Flag("version", "Show the Composer version information", short="v", hidden=True),
    Flag("workdir", "DEPRECATED! USE --project-directory INSTEAD.", "string", hidden=True),
)

EVERYWHERE = (
    Flag("dry-run", "Execute command in dry run mode"),
    Flag("help", "Print usage", short="h", hidden=True),
)
"""Flags that each command takes as well."""

LOCKED = Flag("locked", "Use only the images and remote files that composer.lock names")
"""For commands that get images."""


def check_progress(mode: str) -> None:
    """Raises UsageError for an unknown --progress value; "" means none."""
    if mode and mode not in (*PROGRESS, "none"):  # "none" is an old name of "quiet"
        raise UsageError(f'unsupported --progress value "{mode}": one of {", ".join(PROGRESS)}')
