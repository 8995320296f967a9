import pytest

from engine.build import instructions as ins
from engine.build.lex import lex
from engine.build.mount_flag import run_mount
from engine.build.parse import parse
from engine.build.words import expand
from engine.errors import BuildFailed


def one(text):
    (found,) = parse(lex(text))
    return found


def fields(found):
    return {name: getattr(found, name) for name in found.__struct_fields__ if name not in ("start", "end", "text")}


SHELL = lambda text: ins.Command((text,), True)  # noqa: E731
EXEC = lambda *args: ins.Command(args, False)  # noqa: E731


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("FROM a:1", ins.From, {"image": "a:1"}),
        ("FROM --platform=$P a AS Web", ins.From, {"image": "a", "name": "web", "platform": "$P"}),
        ("ARG A", ins.Arg, {"pairs": (("A", None),)}),
        ("ARG A=1 B='2 3'", ins.Arg, {"pairs": (("A", "1"), ("B", "'2 3'"))}),
        ("ENV A=1 B=c\\ d", ins.Env, {"pairs": (("A", "1"), ("B", "c\\ d"))}),
        ("ENV A the rest = this", ins.Env, {"pairs": (("A", "the rest = this"),)}),
        ('LABEL "a b"="c"', ins.Label, {"pairs": (('"a b"', '"c"'),)}),
        ("RUN a | b", ins.Run, {"command": SHELL("a | b")}),
        ('RUN ["a", "b c"]', ins.Run, {"command": EXEC("a", "b c")}),
        ("RUN [ -f x ]", ins.Run, {"command": SHELL("[ -f x ]")}),
        ("RUN --network=none a", ins.Run, {"network": "none"}),
        ("RUN <<X\nhi\nX", ins.Run, {"script": "hi\n"}),
        ("RUN cat <<X >f\nhi\nX", ins.Run, {"script": None, "command": SHELL("cat <<X >f\nhi\nX")}),
        ("RUN <<'a b'\n#!/bin/sh\na b", ins.Run, {"script": "#!/bin/sh\n", "script_name": "a b"}),
        ("RUN", ins.Run, {"command": ins.Command((), True)}),
        ("ENV\tA\tb\tc", ins.Env, {"pairs": (("A", "b\tc"),), "old_form": True}),
        ('COPY "a b" /c', ins.Copy, {"sources": ('"a', 'b"'), "target": "/c"}),
        ("CMD a b", ins.Cmd, {"command": SHELL("a b")}),
        ("ENTRYPOINT []", ins.Entrypoint, {"command": EXEC()}),
        ("COPY a b /c/", ins.Copy, {"sources": ("a", "b"), "target": "/c/", "add": False}),
        ('COPY ["a b", "/c d"]', ins.Copy, {"sources": ("a b",), "target": "/c d"}),
        (
            "COPY --from=x --chown=1:2 --chmod=u=rwX --link --parents --exclude=*.a --exclude=b s /d",
            ins.Copy,
            {"from_": "x", "chown": "1:2", "chmod": "u=rwX", "link": True, "parents": True, "exclude": ("*.a", "b")},
        ),
        ("ADD --unpack=false --link=false a.tar /d", ins.Copy, {"add": True, "unpack": False, "link": False}),
        (
            "COPY <<a.txt /d\nhi $x\na.txt",
            ins.Copy,
            {"files": (ins.InlineFile("a.txt", "hi $x\n", True),), "sources": ()},
        ),
        ("WORKDIR /a b", ins.Workdir, {"path": "/a b"}),
        ("USER a:b c", ins.User, {"user": "a:b c"}),
        ("EXPOSE 80 443/udp", ins.Expose, {"ports": ("443/udp", "80")}),
        ('VOLUME ["/a", "/b"]', ins.Volume, {"paths": ("/a", "/b")}),
        ('SHELL ["/bin/bash", "-c"]', ins.Shell, {"args": ("/bin/bash", "-c")}),
        ("STOPSIGNAL SIGQUIT", ins.Stopsignal, {"signal": "SIGQUIT"}),
        ("HEALTHCHECK NONE", ins.Healthcheck, {"command": None}),
        (
            "HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0 --start-interval=1s --retries=2 CMD curl x",
            ins.Healthcheck,
            {
                "command": SHELL("curl x"),
                "interval": 90.0,
                "timeout": 0.5,
                "start_period": None,
                "start_interval": 1.0,
                "retries": 2,
            },
        ),
        ("MAINTAINER me <me@x>", ins.Maintainer, {"name": "me <me@x>"}),
        ("ONBUILD COPY . /app", ins.Onbuild, {"instruction": "COPY . /app"}),
    ],
)
def test_instructions(text, kind, expected):
    found = one(text)
    assert isinstance(found, kind)
    assert {name: value for name, value in fields(found).items() if name in expected} == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "type=cache,target=/c,id=x,sharing=locked,mode=0700,uid=1,gid=2",
            {"type": "cache", "sharing": "locked", "mode": 0o700, "gid": 2},
        ),
        ("target=/t,src=a,from=b,rw", {"type": "bind", "source": "a", "from_": "b", "read_only": False}),
        ("type=bind,dst=/t,ro=true", {"target": "/t", "read_only": True}),
        ("type=tmpfs,target=/t,size=64m", {"size": 64 << 20}),
        ("type=secret,id=s,required,env=S", {"id": "s", "required": True, "env": "S"}),
        ("type=ssh", {"type": "ssh", "uid": None}),
        ("TYPE=tmpfs,DST=/t", {"type": "tmpfs", "target": "/t", "read_only": False}),
        ('"target=/a,b",rw=false', {"target": "/a,b", "read_only": True}),
        ("", {"type": "bind", "target": ""}),
    ],
)
def test_run_mounts(text, expected):
    mount = run_mount(text, lambda value: value)
    assert {name: getattr(mount, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUNN x", r"Dockerfile:1: unknown instruction: RUNN(.|\n)*Did you mean RUN\?"),
        ("FROM", "FROM requires at least one argument"),
        ("FROM a b", "FROM requires either one argument, or three"),
        ("FROM a AS 1x", "invalid name for a build stage"),
        ("FROM --platfrom=x a", "unknown flag: --platfrom"),
        ("COPY --chown a /b", "missing a value on flag: --chown"),
        ("COPY --from=a --from=b c /d", "more than once"),
        ("COPY a", "at least two arguments"),
        ("COPY --checksum=x a b", "unknown flag: --checksum"),
        ("COPY --link=maybe a b", "expects true or false"),
        ("ENV A=1 B", "can't find = in 'B'"),
        ("ENV A", "must have two arguments"),
        ("ENV =1", "cannot be blank"),
        ("ARG =1", "cannot be blank"),
        ("SHELL bash", "JSON form"),
        ("USER", "at least one argument"),
        ("RUN [1]", "may hold only strings"),
        ("CMD --x y", "unknown flag: --x"),
        ("COPY a <<EOF\nEOF", "here-document as its destination"),
        ("RUN --mount=from=$X,target=/y z", "cannot have a variable"),
        ("RUN --device=x y", "--device is not supported"),
        ("FROM --platfrom=x a", "did you mean --platform"),
        ("HEALTHCHECK --interval=1us CMD x", "less than 1ms"),
        ("HEALTHCHECK curl", "unknown type 'curl'"),
        ("HEALTHCHECK CMD", "missing command"),
        ("HEALTHCHECK NONE x", "takes no arguments"),
        ("HEALTHCHECK --interval=5 CMD x", "missing unit in duration '5'"),
        ("HEALTHCHECK --retries=x CMD y", "--retries must be a number"),
        ("ONBUILD FROM a", "isn't allowed as an ONBUILD trigger"),
        ("ONBUILD ONBUILD RUN a", "isn't allowed as an ONBUILD trigger"),
        ("ONBUILD NOPE", "unknown instruction: NOPE"),
        ("RUN --network=lan x", "unsupported network mode"),
        ("RUN --network= x", "unsupported network mode"),
        ("RUN --security= x", "unsupported security mode"),
        ("RUN --security=none x", "unsupported security mode"),
        ('VOLUME [""]', "can not be an empty string"),
    ],
)
def test_errors_are_located(text, message):
    with pytest.raises(BuildFailed, match=message) as caught:
        parse(lex(text))
    assert str(caught.value).startswith("Dockerfile:1: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=nfs,target=/x", "unsupported mount type 'nfs'"),
        ("target=/x,colour=red", "unexpected key 'colour'"),
        ("target", "needs a value"),
        ("type=cache,target=/x,sharing=some", "unsupported sharing"),
        ("target=/x,sharing=locked", "sharing is for cache mounts"),
        ("type=tmpfs,target=/x,size=big", "invalid size"),
        ("size=1m,type=tmpfs,target=/x", "unexpected key 'size' for the mount type 'bind'"),
        ("type=cache,target=/x,mode=9", "invalid mode"),
        ("type=tmpfs,target=/x,mode=7", "mode is not allowed"),
        ("type=cache,target=/x,uid=-1", "invalid value for uid"),
        ("type=secret", "needs an id or a target"),
        ("type=secret,id=a,source=b", "both source and id"),
        ("type=secret,id=a,from=b", "cannot have from"),
        ("type=ssh,source=b", "cannot have a source"),
    ],
)
def test_wrong_mounts(text, message):
    with pytest.raises(ValueError, match=message):
        run_mount(text, lambda value: value)


def test_a_mount_s_variables():
    mount = run_mount("type=$t,target=/$d,id=${u:-x}", lambda text: expand(text, {"t": "cache", "d": "c"}))
    assert (mount.type, mount.target, mount.id) == ("cache", "/c", "x")


def test_an_error_shows_all_lines_of_its_instruction():
    with pytest.raises(BuildFailed) as caught:
        parse(lex("FROM a\nCOPY --nope a \\\n  b\n", "web.Dockerfile"))
    assert str(caught.value) == (
        "web.Dockerfile:2: unknown flag: --nope (instruction COPY)\n     2 | COPY --nope a \\\n     3 |   b"
    )
