"""Paths of /proc and /sys that a container cannot see or change (OCI runtime-spec, "Masked Paths" and "Readonly Paths").

The defaults are Docker's, in its order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.spec import securityopts

if TYPE_CHECKING:
    from engine.spec.container import ContainerSpec

MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def masked(spec: ContainerSpec) -> tuple[str, ...]:
    """The hidden paths: none in a privileged container, else the specification's own or the default."""
    if _open(spec):
        return ()
    return MASKED if spec.masked_paths is None else spec.masked_paths


def read_only(spec: ContainerSpec) -> tuple[str, ...]:
    if _open(spec):
        return ()
    return READ_ONLY if spec.read_only_paths is None else spec.read_only_paths


def _open(spec: ContainerSpec) -> bool:
    return spec.privileged or securityopts.read(spec.security_opt)[0].system_paths
