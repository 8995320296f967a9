"""Volumes, binds, tmpfs, configs and secrets."""


def cat(composer, path):
    return composer("exec", "-T", "keep", "cat", path).out


def test_volumes_persist_until_down_v(composer):
    composer("up", "-d")
    composer("exec", "-T", "keep", "sh", "-c", "echo kept > /data/file")
    composer("down")
    composer("up", "-d")
    assert cat(composer, "/data/file") == "kept\n"
    composer("down", "-v")
    composer("up", "-d")
    composer("exec", "-T", "keep", "test", "-e", "/data/file", code=1)


def test_binds_configs_and_secrets(composer):
    composer("up", "-d")
    assert cat(composer, "/shared/file") == "from the host\n"
    composer("exec", "-T", "keep", "touch", "/shared/new", code=1)
    assert cat(composer, "/etc/settings") == "a=1\n"
    assert cat(composer, "/etc/inline") == f"value of {composer.name}"
    assert cat(composer, "/run/secrets/password") == "hunter2\n"
    assert " tmpfs " in composer("exec", "-T", "keep", "grep", " /scratch ", "/proc/mounts").out
