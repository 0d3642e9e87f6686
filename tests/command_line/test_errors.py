"""Errors at the terminal."""

import pytest

from memagents import CheckpointError
from memagents.command_line.errors import plain_errors


def test_errors_of_the_named_kinds_are_plain(capsys):
    for error, code in ((ValueError("n must be 3"), 2), (CheckpointError("no"), 2), (KeyboardInterrupt("saved"), 130)):
        with pytest.raises(SystemExit) as stop, plain_errors(ValueError, KeyboardInterrupt):
            raise error
        assert stop.value.code == code and str(error) in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError), plain_errors(ValueError):
        raise ZeroDivisionError
