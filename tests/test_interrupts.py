"""Interrupts, whenever they come: one line, exit code 130."""

import signal
import sys
import time

import pytest

from purespike import cli


@pytest.fixture
def at_desk(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)


def call(monkeypatch, line):
    monkeypatch.setattr(sys, "argv", ["purespike", *line.split(" ")])
    cli.main()


def test_an_interrupt_is_one_line_and_code_130(at_desk, monkeypatch, capsys):
    import purespike.models.resolve as resolve

    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(resolve, "resolve", interrupt)
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, "info run")
    assert stop.value.code == 130
    assert capsys.readouterr().err == "purespike: error: interrupted; run the same command again to resume\n"


def test_an_interrupt_while_a_class_is_made_is_one(at_desk, monkeypatch, capsys):
    import purespike.models.resolve as resolve

    class Field:
        def __set_name__(self, owner, name):
            raise KeyboardInterrupt

    def late(name):
        # as a library imported late makes its classes
        type("Late", (), {"field": Field()})

    monkeypatch.setattr(resolve, "resolve", late)
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, "info run")
    assert stop.value.code == 130
    assert capsys.readouterr().err == "purespike: error: interrupted; run the same command again to resume\n"


def test_an_interrupt_inside_a_finaliser_is_not_lost(at_desk, monkeypatch, capsys):
    import purespike.models.resolve as resolve

    class Finalised:
        def __del__(self):
            raise KeyboardInterrupt

    def long(name):
        Finalised()
        time.sleep(20)

    monkeypatch.setattr(resolve, "resolve", long)
    # a process started in the background of a shell ignores the interrupt
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as stop:
            call(monkeypatch, "info run")
    finally:
        signal.signal(signal.SIGINT, former)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "purespike: error: interrupted; run the same command again to resume\n"
