"""Work beside a command: its error is one sentence, never a traceback."""

import json

import pytest

from composer.cli.terminal.background import beside
from engine.errors import OperationFailed


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OperationFailed("open", "/x/composer.db", detail="disk I/O error"), "open /x/composer.db: disk I/O error"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "No such file or directory /x"),
        (ValueError("odd"), "internal error: ValueError: odd\nSet COMPOSER_DEBUG=1 to see where."),
    ],
)
def test_an_error_is_a_sentence(capsys, monkeypatch, error, said):
    monkeypatch.delenv("COMPOSER_DEBUG", raising=False)

    def work(wake):
        raise error

    with beside(work, ""):
        pass
    assert capsys.readouterr().err == f"{said}\n"
    with beside(work, "json"):
        pass
    assert json.loads(capsys.readouterr().err) == {"error": True, "message": said}
