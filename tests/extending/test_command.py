"""A command from outside the package: a function on the program's own app, with its options."""

import sys

import pytest

from purespike import cli
from purespike.cli.options import app, takes_settings
from purespike.console import show
from purespike.errors import InputError


@pytest.fixture(autouse=True)
def registered():
    @app.command()
    @takes_settings("eps", "attacks")
    def plan(name: str, *, settings: dict) -> None:
        """Print what would be attacked."""
        if name == "nobody":
            raise InputError("name: nobody is no model; name one")
        show(f"{name}: {settings}")

    yield
    app.registered_commands.pop()


@pytest.mark.parametrize(
    ("arguments", "code", "printed"),
    [
        (["plan", "mine", "--eps", "4/255,8/255"], 0, "mine: {'eps': '4/255,8/255'}"),
        (["plan", "--help"], 0, "--attacks"),
        (["plan", "nobody"], 2, "purespike: error: name: nobody is no model; name one"),
    ],
)
def test_it_is_called_as_the_others_are(monkeypatch, capsys, arguments, code, printed):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["purespike", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert (stop.value.code or 0) == code
    said = capsys.readouterr()
    assert printed in said.out + said.err
