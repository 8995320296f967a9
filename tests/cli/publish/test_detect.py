"""What looks like a secret, in values, text and files. The values are assembled here, so that no scanner reports
them."""

from __future__ import annotations

from pathlib import Path

import pytest

from composer.cli.publish.detect import flattened, in_file, in_text, in_values, is_literal, names_a_secret

AWS = "AK" + "IA" + "WXYZ" * 4
GITHUB = "gh" + "p_" + "k3" * 18
TOKEN = "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiJoaWxsIn0." + "c2lnbmF0dXJl"
KEY = "-----BEGIN " + "EC PRIVATE KEY-----\nhill+DALE/0=\n-----END " + "EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("a", AWS, "AWS Client ID"),
        ("a", "aws" + '"' + "q7" * 18 + "/+xY" + '"', "AWS Secret Key"),
        ("a", "amzn" + ".mws.12345678-1234-1234-1234-123456789abc", "Amazon Marketplace Web Service (MWS) Key"),
        ("x.AccountKey", "Ab+/" * 22, "Azure Storage Account access key"),
        ("a", "Basic " + "aGlsbDpkYWxl", "HTTP Basic Authentication"),
        ("a", GITHUB, "Github authentication"),
        ("a", TOKEN, "JSON Web Token"),
        ("a", KEY, "Private Key"),
        ("a", "npm" + "_" + "aB3" * 12, "npm auth token"),
        ("a", "SG" + "." + "a" * 22 + "." + "b" * 43, "Sendgrid API key"),
        ("a", "xox" + "b-123-abc", "Slack token"),
        ("a", "sk_" + "live_" + "a1" * 12, "Stripe API key"),
        ("a", "postgres" + "://me:word@db/x", "URL with password"),
        ("DB_PASSWORD", "Tr0ub4dor&3-xyzzy-plugh-QW", "Keyword Detector"),
    ],
)
def test_kinds(key: str, value: str, kind: str) -> None:
    assert [(one.kind, one.key, one.value) for one in in_values({key: value})] == [(kind, key, value)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("TOWN", "Trier"),
        ("PASSWORD", "${PASSWORD}"),
        ("PASSWORD", "$PASSWORD"),
        ("a", "Ab+/" * 22),
        ("a", "Basic understanding"),
        ("a", "eyJhbGc.eyJhbGc.x"),
        ("a", "https://example.org:8080/x"),
        ("a", "postgres://me:$PASSWORD@db/x"),
        ("image", "registry.example.com/team/application:1.27.3-alpine"),
        ("a", "1234567890123456789"),
    ],
)
def test_invalid_values(key: str, value: str) -> None:
    assert not in_values({key: value})


def test_text_and_files(tmp_path: Path) -> None:
    assert [str(one) for one in in_text(f"one\n{KEY}\ntwo {GITHUB}")] == [
        f'Github authentication\n"": {GITHUB}',
        f'Private Key\n"": {KEY}',
    ]
    for name, text, key in (
        ("a.env", f"# mine\nexport TOKEN={GITHUB}\nTOWN=Trier\n", "TOKEN"),
        ("a.json", f'{{"deep": [{{"token": "{GITHUB}"}}]}}', "deep[0].token"),
        ("a.yaml", f"deep:\n  token: {GITHUB}\n", "deep.token"),
        ("a.txt", GITHUB, ""),
    ):
        (tmp_path / name).write_text(text)
        assert [(one.key, one.value) for one in in_file(str(tmp_path / name))] == [(key, GITHUB)], name
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00" + GITHUB.encode())
    assert not in_file(str(tmp_path / "binary"))


def test_words() -> None:
    assert names_a_secret("services.web.environment.MYSQL_ROOT_PASSWORD") and names_a_secret("API-KEY")
    assert not names_a_secret("password.TOWN") and not names_a_secret("KEYBOARD")
    assert is_literal("hunter2") and is_literal("pa$$word") and is_literal("$$word") and not is_literal("${X}")
    assert flattened({"a": {"b": [1, None]}}) == {"a.b[0]": "1", "a.b[1]": ""}
