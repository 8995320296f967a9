"""A project that starts processes in every way; each attacks what must hold for all of them, and reports what it
found."""

import json
import re

ATTACK = r"""
until mkdir /tmp/.attack 2> /dev/null; do sleep 0.05; done
grep -E '^(Cap...|NoNewPrivs|Seccomp):' /proc/self/status
for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger /sys/kernel/uevent_helper \
         /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups /proc/self/timens_offsets /proc/1/uid_map \
         /proc/self/root/proc/sys/kernel/core_pattern /proc/1/root/proc/sysrq-trigger \
         /proc/thread-self/root/proc/sys/vm/panic_on_oom
do (echo 0 > $f) 2> /dev/null && echo "wrote $f"; done
for f in keys timer_list interrupts kcore
do for top in "" /proc/self/root /proc/1/root /proc/thread-self/cwd/../../../../../..
do test -z "$(head -c 1 $top/proc/$f 2> /dev/null)" || echo "read $top/proc/$f"; done; done
mount -t proc proc /mnt 2> /dev/null && echo mounted
mount --bind /proc /mnt 2> /dev/null && echo bound
umount /proc/keys 2> /dev/null && echo unmounted
umount -l /proc 2> /dev/null && echo unmounted
mount -o remount,rw /sys 2> /dev/null && echo remounted
mknod /tmp/disk b 1 0 2> /dev/null && head -c 1 /tmp/disk > /dev/null 2>&1 && echo "read a disk"
echo -1000 2> /dev/null > /proc/self/oom_score_adj && echo "is never killed"
for f in /proc/[0-9]*/fd/*
do target=$(readlink $f); case $target in
pipe:* | /dev/null | /dev/pts/* | /dev/tty | /proc/[0-9]*/fd | /attack | /tmp/* | /bin/* | "") ;;
*) echo "open $target in $f of $(tr '\0' ' ' 2> /dev/null < ${f%/fd/*}/cmdline)"; esac; done
for f in /proc/[0-9]*/cwd /proc/[0-9]*/root
do case $(readlink $f) in / | "") ;; *) echo "leads to $(readlink $f)"; esac; done
tail -n +2 /proc/net/unix
rmdir /tmp/.attack
"""
"""Each reports on separate lines what it must not be able to do; capabilities and filters come first. One attacks at a
time, because it opens files that another would report."""

CONFINED = [
    *("CapInh: 0", "CapPrm: a80425fb", "CapEff: a80425fb", "CapBnd: a80425fb", "CapAmb: 0"),
    *("NoNewPrivs: 0", "Seccomp: 2"),
]
"""Docker's default."""


def _to(name):
    """The attack as a command, with its output in /tmp/NAME."""
    return f"sh /attack > /tmp/.{name}; mv /tmp/.{name} /tmp/{name}"


def files(**options):
    """compose.yaml and the files beside it; `options` are additional keys of the services. The images need
    `busybox`."""
    service = {
        "build": ".", "image": "every-way", "stop_grace_period": "0s", "init": True,
        "command": ["sh", "-c", f"{_to('first')}; exec sleep 600"],
        "post_start": [{"command": ["sh", "-c", _to("hook")]}],
        "healthcheck": {"test": ["CMD-SHELL", _to("probe")], "start_interval": "100ms", "start_period": "10s"}, **options,
    }  # fmt: skip
    job = {"image": "every-way", "scale": 0, "stop_grace_period": "0s", **options}
    return {
        "compose": json.dumps({"services": {"a": service, "job": job}}).replace("$", "$$"),
        "attack": ATTACK,
        "Dockerfile": f"FROM busybox\nCOPY attack /attack\nRUN mkdir -p /tmp /mnt; {_to('step')}\n",
    }


def found(composer):
    """Start everything with `composer`, a function from a command's words to its result; returns way → lines."""
    composer("up", "-d", "--build", "--wait")
    composer("exec", "-d", "a", "sh", "-c", _to("detached"))
    said = {
        "exec -T": composer("exec", "-T", "a", "sh", "/attack").out,
        "run": composer("run", "--rm", "-T", "job", "sh", "/attack").out,
    }
    composer("exec", "-T", "a", "sh", "-c", "until test -e /tmp/detached -a -e /tmp/first; do sleep 0.05; done")
    for name in ("first", "hook", "probe", "step", "detached"):
        said[name] = composer("exec", "-T", "a", "cat", f"/tmp/{name}").out
    return {way: [_short(line) for line in text.splitlines()] for way, text in said.items()}


def _short(line):
    name, digits = (
        re.match(r"(\w+:)\s+0*([0-9a-f]+)$", line).groups() if re.match(r"\w+:\s+[0-9a-f]+$", line) else ("", "")
    )
    return f"{name} {digits}" if name else line
