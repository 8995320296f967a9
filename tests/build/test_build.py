"""Whole builds, without RUN (those with are in test_run.py)."""

import gzip
import http.server
import io
import os
import tarfile
import threading

import pytest

from engine.build import emulation
from engine.errors import BuildFailed, EngineError, NotFound, OperationFailed, Unsupported
from engine.image import platform
from engine.image.merged import merged
from engine.spec.container import Healthcheck


def archive(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            info.uid = 77
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def test_from_scratch_with_a_root_file_system(builder):
    record = builder(
        'FROM scratch\nADD rootfs.tar /\nENV A=b\nCMD ["sh"]\n',
        files={"rootfs.tar": archive(**{"bin/sh": "#!"})},
        tags=("app:1",),
    )
    assert record.tags == ("docker.io/library/app:1",)
    assert builder.tree(record) == {"bin": None, "bin/sh": "#!"}
    assert builder.stat(record, "bin/sh").st_uid == 77
    assert record.config.environment == ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=b")
    assert builder.lines[0] == "#1 [2/2] ADD rootfs.tar /"


def test_configuration(builder, base):
    record = builder(
        """FROM base
ARG PORT=80
ARG GIVEN=no
ENV A="$BASE 2" PATH=/x:$PATH
ENV B=$A
LABEL a=${A} "b c"=d
WORKDIR /srv
WORKDIR app
USER web
EXPOSE $PORT 8000-8002/udp
VOLUME /data ["/x"]
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s CMD curl -f $A
SHELL ["/bin/ash", "-c"]
ENTRYPOINT exec x
CMD ["$A"]
ONBUILD COPY . /
LABEL given=$GIVEN
""",
        args={"GIVEN": None, "PORT": "81"},
        environ={"GIVEN": "yes"},
        labels={"extra": "1"},
    )
    config = record.config
    assert config.environment == ("PATH=/x:/bin", "BASE=1", "A=1 2", "B=1 2")
    assert config.labels == {"a": "1 2", "b c": "d", "given": "yes", "extra": "1"}
    assert config.working_dir == "/srv/app"
    assert config.user == "web"
    assert config.exposed_ports == ("8000/udp", "8001/udp", "8002/udp", "81/tcp")
    assert config.volumes == ("/data", "[/x]")
    assert config.stop_signal == "SIGQUIT"
    assert config.healthcheck == Healthcheck(test=("CMD-SHELL", "curl -f $A"), interval=5.0)
    assert config.entrypoint == ("/bin/ash", "-c", "exec x")
    assert config.command == ("$A",)
    assert config.on_build == ("COPY . /",)
    assert builder.stat(record, "srv/app").st_uid == 0


def test_the_same_build_gives_the_same_image(builder, base):
    text = "FROM base\nWORKDIR /w\nCOPY a /b\nENV X=1\n"
    first = builder(text, files={"a": "1"})
    os.utime(builder.context.path / "a", (1, 1))
    again = builder(text)
    assert (again.id, builder.cached) == (first.id, 2)
    builder(text, no_cache=True)
    assert builder.cached == 0


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"d/a": "2"}},
        {"files": {"d/new": ""}},
        {"mode": 0o600},
        {"text": "FROM base\nCOPY d /other/\n"},
        {"text": "FROM base\nCOPY --chown=web d /d/\n"},
        {"text": "FROM base\nENV A=1\nWORKDIR /q\nCOPY d /d/\n"},
    ],
)
def test_copy_runs_after_relevant_changes(builder, base, change):
    text = "FROM base\nCOPY d /d/\n"
    builder(text, files={"d/a": "1"})
    if "mode" in change:
        os.chmod(builder.context.path / "d/a", change["mode"])
    builder(change.get("text", text), files=change.get("files"))
    assert builder.cached == 0


def test_copy_is_cached_after_irrelevant_changes(builder, base):
    builder("FROM base\nCOPY d /d/\n", files={"d/a": "1", ".dockerignore": "d/*.log"})
    os.utime(builder.context.path / "d/a", (5, 5))
    os.chown(builder.context.path / "d/a", 5, 5)
    builder("# comment\nFROM base\nENV X=1\nCOPY  d  /d/", files={"d/x.log": "noise", "beside": ""})
    assert builder.cached == 1


TREE = {"a": "A", "b.txt": "B", "d/x": "X", "d/sub/y.txt": "Y", "d/sub/z": "Z", "empty": None}


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("COPY a /new", {"new": "A"}),
        ("COPY a /dir/", {"dir": None, "dir/a": "A"}),
        ("COPY a b.txt /dir/", {"dir": None, "dir/a": "A", "dir/b.txt": "B"}),
        ("COPY a .", {"a": "A"}),
        ("COPY d /dir", {"dir": None, "dir/x": "X", "dir/sub": None, "dir/sub/y.txt": "Y", "dir/sub/z": "Z"}),
        ("COPY d/ /", {"x": "X", "sub": None, "sub/y.txt": "Y", "sub/z": "Z"}),
        ("COPY empty /e", {"e": None}),
        ("COPY *.txt /t/", {"t": None, "t/b.txt": "B"}),
        ("COPY d/*/y.* /t/", {"t": None, "t/y.txt": "Y"}),
        ("COPY [ab]* /t/", {"t": None, "t/a": "A", "t/b.txt": "B"}),
        ("COPY /a /r/", {"r": None, "r/a": "A"}),
        ("COPY ../../a /r/", {"r": None, "r/a": "A"}),
        ("COPY a /lib/", {"usr/lib/a": "A"}),
        ("COPY a /etc", {"etc/a": "A"}),
        ("COPY a /etc/passwd", {"etc/passwd": "A"}),
        ("COPY --exclude=**/*.txt d /t", {"t": None, "t/x": "X", "t/sub": None, "t/sub/z": "Z"}),
        ("COPY --exclude=sub d /t", {"t": None, "t/x": "X"}),
        ("COPY --parents d/sub/z a /p/", {"p": None, "p/d": None, "p/d/sub": None, "p/d/sub/z": "Z", "p/a": "A"}),
        ('COPY ["a", "/with space"]', {"with space": "A"}),
        ("COPY <<x <<y /h/\n1\nx\n2 $BASE\ny", {"h": None, "h/x": "1\n", "h/y": "2 1\n"}),
        ("COPY <<'x' /h\n$BASE\nx", {"h": "$BASE\n"}),
        ("ADD a /new", {"new": "A"}),
        ("WORKDIR /w/v\nCOPY a ./", {"w": None, "w/v": None, "w/v/a": "A"}),
        ("WORKDIR /w\nCOPY a q", {"w": None, "w/q": "A"}),
        ("ENV N=a\nCOPY $N /to-${N}", {"to-a": "A"}),
    ],
)
def test_copy(builder, base, instruction, expected):
    before = builder.tree(base)
    after = builder.tree(builder(f"FROM base\n{instruction}\n", files=TREE))
    assert {path: text for path, text in after.items() if before.get(path, "") != text} == expected
    assert before.keys() <= after.keys()


def test_owners_and_modes(builder, base):
    builder.context.write(TREE)
    os.chown(builder.context.path / "a", 9, 9)
    os.chmod(builder.context.path / "a", 0o4711)
    os.utime(builder.context.path / "a", (10, 1_000_000_000))
    record = builder(
        "FROM base\nCOPY a /plain\nCOPY --chown=web a /named\nCOPY --chown=web:staff d /group\n"
        "COPY --chown=12 a /new/number\n"
        "COPY --chmod=600 a /octal\nCOPY --chmod=u=rwX,go=rX d /symbols\n"
    )

    def look(path):
        status = builder.stat(record, path)
        return status.st_uid, status.st_gid, oct(status.st_mode & 0o7777)

    assert look("plain") == (0, 0, "0o4711")
    assert builder.stat(record, "plain").st_mtime == 1_000_000_000
    assert look("named") == (1000, 1001, "0o4711")
    assert look("group/sub/z")[:2] == (1000, 50)
    assert look("new/number")[:2] == look("new")[:2] == (12, 12)
    assert look("octal") == (0, 0, "0o600")
    assert look("symbols") == (0, 0, "0o755")
    assert look("symbols/x") == (0, 0, "0o644")


def test_between_stages(builder, base):
    record = builder(
        "FROM base AS one\nCOPY --chown=web a /made\nFROM scratch AS two\nCOPY --from=0 /made /lib/keep /out/\n"
        "FROM two\nCOPY --from=base /etc/group /g\n",
        files=TREE,
    )
    assert builder.tree(record) == {"out": None, "out/made": "A", "out/keep": "keep", "g": "root:x:0:\nstaff:x:50:\n"}
    assert builder.stat(record, "out/made").st_uid == 1000
    assert [line for line in builder.lines if "FROM" in line] == ["#1 [one 1/2] FROM base AS one"]


def test_only_stages_of_the_target_are_built(builder, base):
    record = builder("FROM base AS a\nLABEL x=a\nFROM nowhere AS b\nFROM a AS c\nLABEL x=c", target="a")
    assert record.config.labels == {"x": "a"}
    with pytest.raises(BuildFailed, match=r"'d' could not be found(.|\n)*It has a, b\."):
        builder("FROM base AS a\nFROM a AS b", target="d")


def test_named_contexts(builder, base, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/m").write_text("M")
    record = builder(
        "FROM alias\nCOPY --from=extra m /m\nCOPY --from=alias /etc/group /g",
        additional_contexts={"extra": str(tmp_path / "more"), "alias": "docker-image://base"},
    )
    assert builder.tree(record)["m"] == "M"
    over = builder("FROM base AS extra\nFROM base\nCOPY --from=extra m /m",
                   additional_contexts={"extra": str(tmp_path / "more")})  # fmt: skip
    assert builder.tree(over)["m"] == "M"


def test_onbuild_runs_in_the_next_build(builder, base):
    builder("FROM base\nONBUILD COPY a /from-trigger\nONBUILD ENV T=1", files=TREE, tags=("parent",))
    record = builder("FROM parent\nENV U=2")
    assert builder.tree(record)["from-trigger"] == "A"
    assert record.config.environment[-2:] == ("T=1", "U=2")
    assert record.config.on_build == ()


def test_only_add_unpacks_archives(builder, base):
    files = {
        "x.tar.gz": gzip.compress(archive(f="F")),
        "plain.gz": gzip.compress(b"no archive"),
        "x.tar": archive(g="G"),
    }
    record = builder(
        "FROM base\nADD x.tar.gz x.tar /lib/un\nADD plain.gz /\nCOPY x.tar /c\nADD --unpack=false x.tar /d\n".replace(
            "/lib/un", "/lib/un/"
        ),
        files=files,
    )
    tree = builder.tree(record)
    assert (tree["usr/lib/un/f"], tree["usr/lib/un/g"]) == ("F", "G")
    assert builder.stat(record, "usr/lib/un/f").st_uid == 77
    assert {"plain.gz", "c", "d"} <= tree.keys()


def test_dockerignore(builder, base):
    record = builder("FROM base\nCOPY . /c/", files={**TREE, ".dockerignore": "**/*.txt\nd/sub\n!d/sub/z\nempty\n"})
    found = {path for path in builder.tree(record) if path.startswith("c/")}
    assert found == {"c/.dockerignore", "c/a", "c/d", "c/d/x", "c/d/sub", "c/d/sub/z"}
    with pytest.raises(BuildFailed, match=r"/b.txt.*not found.*excluded by \.dockerignore"):
        builder("FROM base\nCOPY b.txt /")


def test_an_unreadable_ignore_file_is_named(builder, base):
    with pytest.raises(OperationFailed, match=r"read \.dockerignore: EISDIR"):
        builder("FROM base\nCOPY . /c/", files={".dockerignore": None})


def test_the_dockerfile_s_own_ignore_file(builder, base):
    builder.context.write(
        {**TREE, "web.Dockerfile": "FROM base\nCOPY . /c/", ".dockerignore": "a", "web.Dockerfile.dockerignore": "d"}
    )
    tree = builder.tree(builder(None, dockerfile="web.Dockerfile"))
    assert "c/a" in tree
    assert "c/d" not in tree


@pytest.fixture
def website():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/old":
                self.send_response(302)
                self.send_header("Location", "/dir/file.txt")
                self.end_headers()
                return
            self.send_response(404 if self.path == "/gone" else 200)
            if "file" in self.path:
                self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_add_from_the_web(builder, base, website, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    checksum = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    record = builder(
        f"FROM base\nADD {website}/dir/file.txt /w/\nADD --checksum={checksum} --chown=web {website}/old /named\n"
    )
    tree = builder.tree(record)
    assert (tree["w/file.txt"], tree["named"]) == ("hello", "hello")
    status = builder.stat(record, "w/file.txt")
    assert (status.st_mode & 0o777, int(status.st_mtime)) == (0o600, 1445412480)
    assert os.listdir(f"{builder.images.store.roots.cache}/build") == []
    for text, message in (
        (f"--checksum=sha256:{'0' * 64} {website}/file", "digest mismatch"),
        (f"{website}/gone", "answered 404"),
    ):
        with pytest.raises(BuildFailed, match=message):
            builder(f"FROM base\nADD {text} /x")


@pytest.mark.parametrize(
    ("path", "name"),
    [("", "__unnamed__"), ("/", "__unnamed__"), ("/.", "__unnamed__"), ("/..", "download"), ("/a/", "a"), ("/a%2Fb", "b"),
     ("/%C3%A9.txt?x=/y#z", "é.txt"), ("/a%00b", "download")],
)  # fmt: skip
def test_names_of_downloads(builder, base, website, path, name):
    """As BuildKit names them, with the time 0 if the server does not send one."""
    record = builder(f"FROM scratch\nADD {website}{path} /w/\n")
    assert set(builder.tree(record)) == {"w", f"w/{name}"}
    assert int(builder.stat(record, f"w/{name}").st_mtime) == 0


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("FROM nowhere", NotFound, "no such image: nowhere"),
        (
            "FROM base\nCOPY gone /x",
            BuildFailed,
            r'(?s)dockerfile_inline:2: "/gone": not found in the build context.*2 \| COPY gone',
        ),
        ("FROM base\nCOPY *.gone /x/", None, ""),
        ("FROM base\nCOPY b[ /x", BuildFailed, "invalid pattern"),
        ("FROM base\nCOPY --from=$X a /x", BuildFailed, "cannot have a variable"),
        ("FROM base\nCOPY --parents d/gone /x/", BuildFailed, '/d/gone": not found'),
        ("FROM base\nCOPY d /etc/passwd", BuildFailed, "not a directory"),
        ("FROM base\nCOPY a /d/\nCOPY d /\nCOPY a /sub", None, ""),
        ("FROM scratch\nCOPY --chown=nobody a /x", BuildFailed, "unable to convert user 'nobody'"),
        ("FROM base\nCOPY --chmod=zz a /x", BuildFailed, "invalid chmod"),
        ("FROM base\nEXPOSE http", BuildFailed, "dockerfile_inline:2: invalid containerPort: http"),
        ("FROM base\nSTOPSIGNAL SIGNOPE", BuildFailed, "invalid signal"),
        ("FROM base\nENV A=${x", BuildFailed, "unsupported modifier"),
        ("FROM base\nWORKDIR /etc/passwd", BuildFailed, "not a directory"),
        ("FROM --platform=linux/s390x base", Unsupported, "the local image base is for linux/.*, not for linux/s390x"),
        ("FROM base\nRUN --security=insecure x", Unsupported, "entitlement"),
        ("FROM base\nRUN --network=host x", Unsupported, "entitlement network.host"),
        ("FROM scratch AS e\nFROM base\nCOPY --from=e /x /y", BuildFailed, '/x": not found in stage e'),
    ],
)
def test_errors(builder, base, text, error, message):
    if error is None:
        builder(text, files=TREE)
        return
    with pytest.raises(error, match=message):
        builder(text, files=TREE)
    assert not [name for name in builder.images.layers.names() if name.startswith(".")]


def test_missing_context(builder, tmp_path):
    with pytest.raises(BuildFailed, match=r"build context .*gone does not exist"):
        builder(None, context=str(tmp_path / "gone"))
    with pytest.raises(BuildFailed, match=r"Dockerfile .*/Dockerfile does not exist"):
        builder(None)
    with pytest.raises(OperationFailed, match="ENOENT"):
        builder("FROM scratch\nCOPY a /", context=str(tmp_path / "gone"))


def test_platforms_that_do_not_run_here(builder):
    """A build that runs nothing works for any platform; the others are refused with their position."""
    record = builder("FROM scratch\nCOPY a /a", files={"a": "1"}, platforms=("linux/s390x",))
    assert (record.os, record.architecture) == ("linux", "s390x")
    with pytest.raises(Unsupported, match="cannot RUN a program for linux/s390x"):
        builder("FROM scratch\nCOPY a /a\nRUN x", platforms=("linux/s390x",))


def test_emulators(tmp_path):
    wanted = platform.parse("linux/s390x")
    assert not emulation.runs(wanted, str(tmp_path))
    for flags, expected in (("F", True), ("OCF", True), ("OC", False)):
        (tmp_path / "qemu-s390x").write_text(
            f"enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: {flags}\noffset 0\n"
        )
        assert emulation.runs(wanted, str(tmp_path)) is expected
    assert emulation.runs(platform.host(), str(tmp_path))


def test_missing_images_are_pulled(images, context, base):
    from engine.build import build
    from engine.spec.image import BuildSpec

    asked = []

    def pull(name, platform):
        asked.append(name)
        images.tag("base", name)
        return images.need(name)

    def run(spec):
        build(spec, images=images, run=None, pull=pull)

    run(BuildSpec(context=str(context.path), dockerfile_inline="FROM other:1\nLABEL a=b"))
    run(BuildSpec(context=str(context.path), dockerfile_inline="FROM base\nLABEL a=b"))
    assert asked == ["other:1"]
    run(BuildSpec(context=str(context.path), dockerfile_inline="FROM base\nLABEL a=b", pull=True))
    assert asked == ["other:1", "base"]


def test_instructions_without_effect_are_warned_of(builder, base):
    builder("FROM base\nARG A", args={"A": "1", "B": "2", "HTTP_PROXY": "x"})
    warnings = [line for line in builder.lines if "WARN" in line]
    assert len(warnings) == 1
    assert "not consumed: B" in warnings[0]


def test_the_cache_can_be_trimmed_and_collected(builder, base, images):
    from engine.build.builder import trim

    builder("FROM base\nCOPY a /a", files={"a": "x" * 100_000}, tags=("app",))
    builder("FROM base\nCOPY a /a", files={"a": "y" * 100_000}, tags=("app",))
    assert len(images.all()) == 2  # the base, and the newer build
    assert len(images.layers.names()) == 3
    trim(images, keep_bytes=0)
    assert len(images.layers.names()) == 2
    builder("FROM base\nCOPY a /a")
    assert builder.tree(builder("FROM base\nCOPY a /a"))["a"] == "y" * 100_000


@pytest.mark.parametrize(
    "attack",
    [
        lambda path, secret: (path / "evil").symlink_to(secret),
        lambda path, secret: (path / "evil").symlink_to("../../../../../.." + str(secret)),
        lambda path, secret: (path / "evil").symlink_to("/proc/self/root" + str(secret)),
    ],
)
def test_a_context_cannot_read_the_host(builder, base, tmp_path, attack):
    secret = tmp_path / "secret"
    secret.write_text("host secret")
    attack(builder.context.path, secret)
    for text in ("COPY evil /x", "ADD evil /x", "COPY . /all/", "COPY ev* /y/"):
        try:
            record = builder(f"FROM base\n{text}")
        except EngineError:
            continue
        assert "host secret" not in builder.tree(record).values()


@pytest.mark.parametrize("target", ["/evil/file", "/evil/", "/evil", "/evil/new/dir/"])
def test_an_image_cannot_lead_a_copy_to_the_host(builder, images, tmp_path, target):
    victim = tmp_path / "victim"
    victim.mkdir()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, link in (("evil", str(victim)), ("etc", str(tmp_path))):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
    (builder.context.path / "rootfs.tar").write_bytes(out.getvalue())
    for text in (f"COPY a {target}", f"ADD x.tar {target}", f"WORKDIR {target}", "COPY --chown=web a /x"):
        try:
            builder(f"FROM scratch\nADD rootfs.tar /\n{text}", files={"a": "A", "x.tar": archive(f="F")})
        except EngineError:
            pass
    assert os.listdir(victim) == []


def test_a_stage_cannot_read_the_host(builder, images):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("evil")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    with pytest.raises(BuildFailed, match="not found"):
        builder(
            "FROM scratch AS s\nADD r.tar /\nFROM scratch\nCOPY --from=s /evil/passwd /p",
            files={"r.tar": out.getvalue()},
        )


def test_independent_stages_meet(builder, base):
    text = "".join(f"FROM base AS s{number}\nCOPY a /{number}\nCOPY d /d{number}/\n" for number in range(6))
    text += "FROM scratch\n" + "".join(f"COPY --from=s{number} /{number} /\n" for number in range(6))
    record = builder(text, files=TREE)
    assert builder.tree(record) == {str(number): "A" for number in range(6)}
    assert builder(text).id == record.id
    assert builder.cached == 18


def test_a_stage_that_fails_ends_the_build(builder, base):
    text = "".join(f"FROM base AS s{number}\nCOPY {'gone' if number == 2 else 'a'} /{number}\n" for number in range(5))
    text += "FROM scratch\n" + "".join(f"COPY --from=s{number} /{number} /\n" for number in range(5))
    with pytest.raises(BuildFailed, match='dockerfile_inline:6: "/gone": not found'):
        builder(text, files=TREE)
    assert not [name for name in builder.images.layers.names() if name.startswith(".")]


def test_stages_without_a_cache(builder, base):
    text = "FROM base AS one\nWORKDIR /one\nFROM one AS Two\nWORKDIR /two\n"
    builder(text)
    builder(text, no_cache_filter=("TWO",))
    assert builder.cached == 1


def test_the_cache_stays_within_its_budget(builder, base, images, monkeypatch):
    monkeypatch.setenv("COMPOSER_BUILD_CACHE", "150k")
    for letter in "xyz":
        builder("FROM base\nCOPY a /a", files={"a": letter * 100_000}, tags=("app",))
    assert len(images.layers.names()) == 3  # the base, the image, and one layer of 100 kB that only the cache keeps
    monkeypatch.setenv("COMPOSER_BUILD_CACHE", "much")
    with pytest.raises(BuildFailed, match="COMPOSER_BUILD_CACHE"):
        builder("FROM base\nCOPY a /a")


@pytest.mark.root
def test_copy_keeps_file_capabilities(builder, base, context):
    """Capabilities of files in images and archives, also of files with another owner; a later change of owner removes
    them. As with Docker, those of files in the context are not sent."""
    capability = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep (vfs_cap_data, revision 2)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("ping")
        info.mode, info.pax_headers = 0o755, {"SCHILY.xattr.security.capability": capability.decode("latin-1")}
        tar.addfile(info)
    context.write({"a.tar": out.getvalue()})
    record = builder(
        "FROM base AS one\nADD a.tar /\nFROM base\nADD a.tar /a/\nCOPY --from=one /ping /b\n"
        "COPY --from=one --chown=1000:1000 --chmod=755 /ping /c\nCOPY --link --from=one /ping /d\nCOPY --from=one / /e/\n"
    )
    with merged([builder.images.layers.path(folder) for folder in record.layers]) as root:
        for name in ("a/ping", "b", "c", "d", "e/ping"):
            assert os.getxattr(f"/proc/self/fd/{root}/{name}", "security.capability") == capability, name
