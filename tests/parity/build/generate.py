"""Random cases: a Dockerfile from a seed, the same for ever."""

import random

from tests.parity.build.case import Case

COUNT = 200
_SOURCES = ("a.txt", "b.txt", "d", "d/sub", "d/*", "x?", "*.txt", "link", "dlink", "h1", "pkg/*/package.json", "run.sh",
            "hollow", "d/x.txt", "./d/../a.txt", "/x1", "none*", "gone", "br[[]1].txt", "suid", "t.tar", "empty",
            ".")  # fmt: skip
_TARGETS = ("/", "/x", "/x/", "/new/deep/", "/old", "/old/", "/old/file", "/todir", "/todir/q", "/tolink", "/nowhere", ".",
            "rel", "rel/", "/old/sub", "$V", "/${W:-w}/", "/tmp/x", "/a/../b/", "/private/x")  # fmt: skip
_WORDS = ("1", "a b", "$V", "${V}", "${V:-d}", "${U:-d}", "${U-}", "${V:+y}", "${V#*a}", "${V%%b*}", "${V/a/z}", "'$V'",
          "\\$V", "x\\ty", "it's", 'q"q', "/p/$V/q", "", "a=b", "#no", "é")  # fmt: skip
_COMMANDS = ("echo hi > /f", "echo $V-$W > /g", "mkdir -p /m/n && echo x > /m/n/o", "rm -rf /old", "ln -s a /l",
             "chmod 700 /old", "chown 3:4 /old/file", "mv /old /older", "true", "false", "env | sort > /e", "pwd > /p",
             "id > /tmp/i", "echo a >> /old/file", "touch -d @1200000000 /t", "ln /old/file /old/link",
             "cat /old/file")  # fmt: skip


def case(seed):
    """The case of a seed."""
    return Case(f"random-{seed}", **_Generator(random.Random(seed)).make())


class _Generator:
    def __init__(self, chance):
        self.chance, self.pick = chance, chance.choice
        self.stages = []

    def make(self):
        lines, flags = [], []
        if self.often(0.3):
            lines.append(f"ARG B={self.pick(('parity/base:1', 'scratch'))}")
        if self.often(0.2):
            flags.append(f"--build-arg=V={self.pick(('given', 'a/b', ''))}")
        if self.often(0.15):
            flags.append("--label=given=1")
        for number in range(self.pick((1, 1, 1, 2, 2, 3))):
            lines += self.stage(number, arguments=bool(lines) and number == 0)
        files = {".dockerignore": self.ignore()} if self.often(0.2) else {}
        return {"dockerfile": "\n".join(lines) + "\n", "flags": flags, "files": files}

    def often(self, share):
        return self.chance.random() < share

    def stage(self, number, arguments):
        base = self.pick(("parity/base:1", "parity/base:1", "parity/base:1", "scratch", *self.stages))
        if arguments and self.often(0.5):
            base = "$B"
        name = f" AS s{number}" if self.often(0.6) else ""
        lines = [f"FROM {base}{name}", *(self.instruction() for _ in range(self.chance.randint(1, 5)))]
        if name:
            self.stages.append(f"s{number}")
        return lines

    def instruction(self):
        kinds = (
            "copy",
            "copy",
            "copy",
            "add",
            "run",
            "run",
            "env",
            "arg",
            "label",
            "workdir",
            "user",
            "other",
            "heredoc",
        )
        return getattr(self, self.pick(kinds))()

    def quoted(self):
        word = self.pick(_WORDS)
        if " " in word or word in ("", "it's", "#no"):
            return f'"{word}"'
        return word.replace('q"q', 'q\\"q')

    def flags(self):
        found = []
        if self.often(0.25):
            found.append(f"--chown={self.pick(('web', 'web:staff', '5', '5:6', ':7', 'root', '1000:staff'))} ")
        if self.often(0.25):
            found.append(f"--chmod={self.pick(('755', '0600', '4711', '1777'))} ")
        if self.often(0.15):
            found.append(f"--exclude={self.pick(('*.md', 'sub', '**/*.txt', 'x*'))} ")
        return "".join(found)

    def copy(self):
        origin, sources = "", _SOURCES
        if self.stages and self.often(0.4):
            origin, sources = (
                f"--from={self.pick(self.stages)} ",
                ("/f", "/old", "/etc/passwd", "/x*", "/new", "/tmp", "/"),
            )
        chosen = " ".join(self.pick(sources) for _ in range(self.pick((1, 1, 1, 2, 3))))
        return f"COPY {origin}{self.flags()}{chosen} {self.pick(_TARGETS)}"

    def add(self):
        return f"ADD {self.flags()}{self.pick(('t.tar', 't.tgz', 'text.gz', 'a.txt', 't.*'))} {self.pick(_TARGETS)}"

    def run(self):
        command = " && ".join(self.pick(_COMMANDS) for _ in range(self.pick((1, 1, 2))))
        if self.often(0.15):
            return f"RUN --mount=target=/ctx cat /ctx/a.txt > /c && {command}"
        return f"RUN {command}"

    def env(self):
        return f"ENV {self.pick('VW')}={self.quoted()} {self.pick('XY')}={self.quoted()}"

    def arg(self):
        return f"ARG {self.pick(('V', 'W', 'V W'))}" + (f"={self.quoted()}" if self.often(0.6) else "")

    def label(self):
        return f"LABEL l{self.chance.randint(1, 3)}={self.quoted()}"

    def workdir(self):
        return f"WORKDIR {self.pick(('/w', 'sub', '..', '/old/sub', '/todir', '$V', '/'))}"

    def user(self):
        return f"USER {self.pick(('web', '0', '1000:50', 'root'))}"

    def other(self):
        return self.pick((
            "CMD echo $V", 'CMD ["a", "b"]', "ENTRYPOINT exec x", 'ENTRYPOINT ["e"]', "EXPOSE 80 $V", "EXPOSE 5-7/udp",
            "VOLUME /v $W", "STOPSIGNAL 15", "HEALTHCHECK --interval=5s CMD x", 'SHELL ["/bin/sh", "-ec"]',
            "MAINTAINER me", "ONBUILD RUN echo on > /on", "ONBUILD ENV O=1",
        ))  # fmt: skip

    def heredoc(self):
        name = self.pick(("EOF", "'EOF'", "-EOF", '"E F"'))
        end = name.strip("-'\"")
        body = self.pick(("one $V", "\t\ttabs", "a \\$V ${U:-d}", "'q' \"r\"", ""))
        if self.often(0.4):
            return f"RUN cat <<{name} > /h\n{body}\n{end}"
        return f"COPY {self.flags()}<<{name} {self.pick(('/h', '/old', '/new/h/', 'h'))}\n{body}\n{end}"

    def ignore(self):
        rules = ("*.txt", "!a.txt", "d", "!d/sub", "*", "**/package.json", "x1/", "# no", "d/*.md", "!**/m.js", "h?")
        return "\n".join(self.pick(rules) for _ in range(self.chance.randint(1, 4))) + "\n"
