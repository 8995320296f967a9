"""Random cases: a Dockerfile from a seed, always the same."""

import json
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


_JSON_SOURCES = ("a.txt", "d", "sp ace.txt", "$V", "b*", "dlink/", "./link", "pkg", "x1/", "d/../a.txt", "h2")
_JSON_TARGETS = ("/q r/", "/x", "/old/", "rel/", "/$V/", "/todir/new", "/real")
_MOUNTS = ("type=cache,target=/cc", "type=cache,id=q$V,target=/cc,uid=1000", "type=tmpfs,target=/old", "target=/ctx",
           "target=/ctx,source=d,rw", "type=bind,from=parity/base:1,source=/etc,target=/e2", "target=/old/sub,source=$V",
           "type=bind,source=a.txt,target=/bin/zz", "type=secret,id=nope", "type=bind,target=rel,source=pkg",
           "type=cache,target=/root/.c/d,mode=0700,sharing=locked", "type=tmpfs,target=/new/t,size=1m")  # fmt: skip
_MOUNTED = ("ls / > /l0", "ls -la /old | wc -l > /l1", "find /ctx 2>/dev/null | sort > /l2", "echo x > /cc/x; true",
            "cat /e2/passwd > /l3 2>/dev/null || true", "echo y > /old/y", "ls rel > /tmp/l4 2>&1 || true")  # fmt: skip
_HEREDOCS = ("RUN <<EOF\nset -e\necho $V > /hv\necho '$W' >> /hv\nEOF",
             "RUN <<A cat > /h1 && cat <<'B' > /h2\none $V\nA\ntwo $V\nB",
             "COPY <<a.conf <<-'b.conf' /etc/c/\nx=$V\na.conf\n\ty=$V\n\tb.conf",
             "COPY --chmod=755 --chown=web <<x a.txt /mm/\nhi ${V:-z}\nx")  # fmt: skip
_OTHERS = ("ONBUILD COPY a.txt /onb/", "ONBUILD ENV OV=$V", "ONBUILD RUN --mount=target=/c ls /c/d > /onl", "ONBUILD USER web",
           'SHELL ["/bin/sh", "-exc"]', 'SHELL ["/bin/busybox", "sh", "-c"]', 'RUN ["touch", "/j $V"]',
           'VOLUME ["/va", "/v b", "$V"]', "RUN ln -sfn /real /lnk && mkdir -p /lnk/deep", "RUN ln -s nowhere2 /dang",
           "WORKDIR /lnk/w", "COPY a.txt /lnk/", "COPY d /dang/", "WORKDIR /dang", "COPY x1 /todir/", "USER $V",
           "RUN rm -rf /todir && mkdir /todir", "RUN ln /old/file /old/hl; echo z >> /old/hl", "ENV A=${V:?need}",
           "COPY --from=parity/base:1 /todir /copied/", "EXPOSE 80/TCP 81", "ENV Z=${W/a*/x}", 'LABEL "a b"=c d=$V',
           "ENV $V=1", "ARG Q=$V R=${Q:-x}", "ARG HTTP_PROXY", "ENV P=$PATH:/x", "STOPSIGNAL KILL")  # fmt: skip

RICH = 40


def case(seed):
    """The case of a seed."""
    return Case(f"random-{seed}", **_Generator(random.Random(seed)).make())


def rich_case(seed):
    """The case of a seed, with mounts, links, ONBUILD and JSON forms as well."""
    return Case(f"rich-{seed}", **_Rich(random.Random(seed)).make())


def cases():
    """All random cases whose answers are recorded."""
    return [*map(case, range(COUNT)), *map(rich_case, range(RICH))]


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


class _Rich(_Generator):
    def instruction(self):
        kinds = ("copy", "link", "json", "add", "run", "run", "mount", "mount", "env", "arg", "label", "workdir", "user", "other",
                 "heredoc", "fixed", "fixed", "fixed", "fixed")  # fmt: skip
        return getattr(self, self.pick(kinds))()

    def link(self):
        return self.copy().replace("COPY ", "COPY --link ", 1)

    def json(self):
        chosen = [self.pick(_JSON_SOURCES) for _ in range(self.pick((1, 1, 2)))]
        return f"COPY {self.flags()}{json.dumps([*chosen, self.pick(_JSON_TARGETS)])}"

    def mount(self):
        flags = [f"--mount={self.pick(_MOUNTS)}" for _ in range(self.pick((1, 1, 2)))]
        return f"RUN {' '.join(flags)} {self.pick(_MOUNTED)}"

    def fixed(self):
        return self.pick((*_HEREDOCS, *_OTHERS))
