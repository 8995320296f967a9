"""Endless files and enormous numbers are refused quickly, and by name."""

import pytest

A = "services:\n  a:\n    image: busybox\n    network_mode: none\n    command: ['true']\n"
BUILD = (
    "services:\n  a:\n    build: {context: ., dockerfile: DOCKERFILE, secrets: [s]}\nsecrets: {s: {file: /dev/zero}}\n"
)


@pytest.mark.parametrize(
    ("compose", "words", "said"),
    [
        (A + "    env_file: /dev/zero\n", ("up",), "/dev/zero has more than"),
        (A + "    label_file: /dev/zero\n", ("up",), "/dev/zero has more than"),
        (A + "    security_opt: [seccomp=/dev/urandom]\n", ("up",), "/dev/urandom has more than"),
        (
            A + "    configs: [{source: c, mode: 0400}]\nconfigs: {c: {file: /dev/zero}}\n",
            ("up",),
            "is not a regular file",
        ),
        (
            A + "    secrets: [{source: c, uid: '1'}]\nsecrets: {c: {file: /dev/zero}}\n",
            ("up",),
            "is not a regular file",
        ),
        (A + "    scale: 100000000\n", ("up", "-d"), "exceed the limit of 10000"),
        (A + "    deploy: {replicas: 100000000}\n", ("up", "-d"), "exceed the limit of 10000"),
        (A, ("up", "--scale", "a=100000000"), "at most 10000"),
        (A, ("scale", f"a={'9' * 5000}"), "at most 10000"),
        (A, ("-f", "/dev/zero", "up"), "/dev/zero has more than"),
        (A, ("--env-file", "/dev/zero", "up"), "/dev/zero has more than"),
        (BUILD.replace("DOCKERFILE", "/dev/zero"), ("build",), "/dev/zero has more than"),
        (BUILD.replace("DOCKERFILE", "Dockerfile"), ("build",), "/dev/zero has more than"),
    ],
)
def test_refused(composer, compose, words, said):
    composer.write(compose=compose, Dockerfile="FROM busybox\nRUN --mount=type=secret,id=s true\n")
    result = composer(*words, code=1, timeout=60)
    assert said in result.err
    assert "internal error" not in result.err
