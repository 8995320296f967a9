"""The real command line, as a user types it, in the folder of a project."""

import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap

SESSION = f"p{secrets.token_hex(3)}"
"""The prefix of this session's projects: other sessions may run on the machine at the same time."""


class Result(subprocess.CompletedProcess):
    """`out`, `err`, `code`; prints them all when an assertion about it fails."""

    @property
    def out(self):
        return self.stdout

    @property
    def err(self):
        return self.stderr

    @property
    def code(self):
        return self.returncode

    def __repr__(self):
        return f"{shlex.join(self.args[3:])} ended with {self.code}\n{self.out}{self.err}"


class Composer:
    def __init__(self, folder, roots, project):
        self.folder, self.roots = folder / "project", roots
        shutil.copytree(project, self.folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        self.name = SESSION + secrets.token_hex(2)
        self.names = {self.name}
        self.running = []
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "COMPOSE_PROJECT_NAME": self.name,
            "PYTHONPATH": os.getcwd(),
            **roots.environment(),
        }

    def write(self, files=None, /, **more):
        """Files of the project; `compose` stands for compose.yaml."""
        for name, text in {**(files or {}), **more}.items():
            path = self.folder / ("compose.yaml" if name == "compose" else name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return self

    def command(self, *words):
        return [sys.executable, "-m", "composer", *map(str, words)]

    def __call__(self, *words, code=0, timeout=60, environ=None, stdin=None):
        """Run a command to its end; it must exit with `code` (None: any)."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env={**self.environ, **(environ or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        done = Result(done.args, done.returncode, done.stdout, done.stderr)
        assert code is None or done.returncode == code, done
        return done

    def start(self, *words, **options):
        """Start a command and leave it running; its output and errors go to one pipe."""
        process = subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env={**self.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        self.running.append(process)
        return process

    def interrupt(self, process):
        """Send Ctrl-C; returns its whole output once it has exited."""
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=30)[0]

    def looked_up(self, service, name):
        """The addresses that a container of the service finds for a name. By nslookup and nc alone: for other programs a
        static busybox needs the resolver of a shared glibc, which its image lacks."""
        text = self("exec", "-T", service, "nslookup", "-type=a", name, code=None).out
        return re.findall(r"^Address: ([0-9.]+)$", text, re.MULTILINE)

    def fetch(self, service, address, path):
        """The answer of a web server at the address to a container of the service."""
        request = f"printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} 80"
        return self("exec", "-T", service, "sh", "-c", request).out.partition("\n\n")[2]

    def ps(self, *words):
        """`ps --format json` as service → list of containers."""
        import json

        found = {}
        for line in self("ps", "--format", "json", *words).out.splitlines():
            container = json.loads(line)
            found.setdefault(container["Service"], []).append(container)
        return found

    def end(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for name in self.names:
            self("-p", name, "down", "-v", "--remove-orphans", "-t", "0", code=None)
