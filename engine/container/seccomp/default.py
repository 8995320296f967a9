"""The default profile, with the effect of Docker's. Of the calls that were reviewed, all are allowed except those
listed here."""

from __future__ import annotations

NEWEST = 466
"""removexattrat(2), the last call that was reviewed; it has the same number on every architecture. Later ones return
ENOSYS, so that programs fall back; unassigned numbers below return EPERM."""

LATER = {
    "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455,
    "futex_requeue": 456, "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460,
    "lsm_list_modules": 461, "mseal": 462, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
}  # fmt: skip
"""Also allowed unless refused below, although an older libseccomp may not know them; these have one number everywhere
as well."""

UNLESS_CAPABLE: dict[str, tuple[str, ...]] = {
    "SYS_ADMIN": (
        "bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "lsm_get_self_attr",
        "lsm_list_modules", "lsm_set_self_attr", "mount", "mount_setattr", "move_mount", "open_tree", "perf_event_open",
        "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns", "syslog", "umount", "umount2", "unshare",
    ),
    "DAC_READ_SEARCH": ("open_by_handle_at",),
    "SYS_BOOT": ("reboot",),
    "SYS_CHROOT": ("chroot",),
    "SYS_MODULE": ("delete_module", "init_module", "finit_module"),
    "SYS_PACCT": ("acct",),
    "SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "SYS_RAWIO": ("iopl", "ioperm"),
    "SYS_TIME": ("settimeofday", "stime", "clock_settime", "clock_settime64"),
    "SYS_TTY_CONFIG": ("vhangup",),
    "SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
}  # fmt: skip
"""Refused with EPERM unless the container has the capability."""

ALSO_WITH: dict[str, tuple[str, ...]] = {"SYSLOG": ("syslog",), "BPF": ("bpf",), "PERFMON": ("perf_event_open",)}
"""Further capabilities that permit a call of UNLESS_CAPABLE."""

NEVER = (
    "_sysctl", "add_key", "afs_syscall", "create_module", "get_kernel_syms", "getpmsg", "io_uring_enter",
    "io_uring_register", "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl", "migrate_pages", "move_pages",
    "nfsservctl", "pivot_root", "putpmsg", "query_module", "request_key", "security", "swapoff", "swapon", "sysfs",
    "tuxcall", "uselib", "userfaultfd", "ustat", "vserver",
    # 32-bit programs
    "bdflush", "break", "ftime", "gtty", "idle", "lock", "mpx", "nice", "oldfstat", "oldlstat", "oldolduname", "oldstat",
    "olduname", "prof", "profil", "readdir", "sgetmask", "sigaction", "signal", "sigpending", "sigsuspend", "ssetmask",
    "stty", "ulimit", "vm86", "vm86old",
)  # fmt: skip

NEW_NAMESPACES = 0x7E020000
"""clone(2) with any of these flags needs CAP_SYS_ADMIN; clone3 passes its flags in memory, so it returns ENOSYS."""

PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
CLOSED_FAMILY = 40
"""AF_VSOCK, which connects to the machine's hypervisor."""
