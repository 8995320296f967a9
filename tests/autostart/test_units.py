"""What `composer autostart enable` writes, for root and for an ordinary user."""

import os
import shutil
import subprocess

import pytest

from composer.cli.project.systemd_unit import Units, _quoted


def test_the_systems_unit(tmp_path):
    units = Units({"COMPOSER_UNIT_ROOT": str(tmp_path)}, user=False)
    text = units.text("shop", "/var/lib/composer", "/run/composer")
    path = units.write("shop", text)
    assert path == tmp_path / "composer-shop.service"
    assert (tmp_path / "multi-user.target.wants/composer-shop.service").resolve() == path
    assert "RequiresMountsFor=/var/lib/composer\n" in text
    for line in ("ExecStart", "ExecStop"):
        word = {"ExecStart": "run", "ExecStop": "stop"}[line]
        command = next(one for one in text.splitlines() if one.startswith(f"{line}="))
        assert command.endswith(f"--state-root /var/lib/composer --run-root /run/composer -p shop autostart {word}")
    assert units.projects() == ["shop"]
    assert units.remove("shop") and not units.remove("shop")
    assert [path.name for path in tmp_path.rglob("*")] == ["multi-user.target.wants"]


def test_an_ordinary_users_unit(tmp_path):
    units = Units({"HOME": str(tmp_path)}, user=True)
    path = units.write("shop", units.text("shop", "/s", "/r"))
    assert path == tmp_path / ".config/systemd/user/composer-shop.service"
    assert "Delegate=yes\n" in path.read_text()
    assert path.read_text().endswith("WantedBy=default.target\n")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here to ask")
@pytest.mark.parametrize("user", [False, True])
def test_systemd_finds_nothing_wrong(tmp_path, user):
    units = Units({"COMPOSER_UNIT_ROOT": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}, user=user)
    path = units.write("shop", units.text("shop", "/a b/100%", "/run/$x"))
    command = ["systemd-analyze", "--user" if user else "--system", "--man=no", "verify", path]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})
    assert "composer-shop" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("a b", '"a b"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('a"b\\', '"a\\"b\\\\"'),
    ],
)
def test_words_of_a_command_line(word, quoted):
    assert _quoted(word) == quoted


def test_enable_print_and_disable(composer, tmp_path):
    environ = {"COMPOSER_UNIT_ROOT": str(tmp_path / "units")}
    shown = composer("autostart", "enable", "--print", environ=environ).out
    assert f"-p {composer.name} autostart run" in shown
    assert not (tmp_path / "units").exists()
    composer("autostart", "enable", environ=environ)
    assert (tmp_path / f"units/composer-{composer.name}.service").read_text() == shown
    assert [composer.name, "enabled", "0"] in [
        line.split() for line in composer("autostart", "status", environ=environ).out.splitlines()
    ]
    composer("autostart", "disable", environ=environ)
    assert "has no unit" in composer("autostart", "disable", environ=environ, code=1).err
    assert "--print is only valid with enable" in composer("autostart", "run", "--print", code=None).err
