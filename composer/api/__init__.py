"""Projects from Python, typed: blocking (`Project`) and for event loops (`AsyncProject`).

    from composer.api import Project

    with Project("shop", profiles=["debug"]) as project:     # the folder shop; the block's end takes it down
        project.up(wait=True)
        print(project.exec("web", "hostname").stdout)

Each call runs a `composer` process, which does not touch the caller's threads, signals, descriptors or event loop.
Containers outlive the caller. Failures are ComposerError, with the message and the exit code of the command.
"""

from composer.api.loop import AsyncProject
from composer.api.project import Project
from composer.api.values import ComposerError, Container, Event, LogLine, Output, Port

__all__ = ["AsyncProject", "ComposerError", "Container", "Event", "LogLine", "Output", "Port", "Project"]
