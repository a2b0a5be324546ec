"""What --help says: every command, every option."""

import re

import pytest

from purespike import cli

HELP = {
    "run": [
        "RECIPE",
        "--out",
        "--classifier",
        "--minutes",
        "--beside",
        "--seed",
        "--set",
        "--device",
        "--precision",
        "--half",
        "--track",
    ],
    "train classifier": ["RECIPE", "--out", "--seed", "--set", "--device", "--precision", "--track"],
    "train purifier": [
        *("RECIPE", "--out", "--classifier", "--seed", "--set", "--device", "--precision", "--track")
    ],
    "purify": ["IN", "OUT", "--model", "--device"],
    "evaluate": [
        *("MODEL", "--data", "--purifier", "--attacks", "--eps", "--threat", "--images"),
        *("--batch-size", "--out", "--seed", "--device", "--norm", "--suite", "--surrogates", "--strict"),
        *("--substitute", "--eot", "--passes", "--max-cost", "--diagnose", "--name", "--beside"),
        *("--save", "--corrupted"),
    ],
    "export": ["MODEL", "OUT", "--size", "--purifier", "--device"],
    "doctor": ["--device"],
    "reject": [
        *("MODEL", "--score", "--coverage", "--gated", "--data", "--split", "--calibrate-on", "--purifier"),
        *("--calibration-images", "--slight", "--save", "--attacks", "--eps", "--norm", "--surrogates"),
        *("--losses", "--images", "--batch-size", "--out", "--seed", "--device"),
    ],
    "certify": [
        *("MODEL", "--data", "--split", "--purifier", "--sigma", "--n", "--n0", "--alpha", "--compare"),
        *("--alone", "--images", "--batch-size", "--out", "--name", "--seed", "--device"),
    ],
    "transfer": ["--substitute", "--target", "--data", "--attacks", "--eps", "--norm", "--images", "--out"],
    "leaderboard": ["DIR", "--out"],
    "check": ["TABLE.csv", "--eps", "--out", "--strict"],
    "info": ["MODEL", "--device"],
    "demo": ["MODEL", "--data", "--port", "--limit", "--device"],
    "recipe": ["NAME", "--markdown"],
    "zoo": ["NAME"],
    "reproduce": ["EXPERIMENT", "--scale", "--seeds", "--data", "--out", "--page", "--device"],
}


@pytest.mark.parametrize(("command", "options"), HELP.items())
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_mentions_every_option(call, monkeypatch, command, options, flag):
    monkeypatch.setenv("COLUMNS", "200")
    printed = re.sub(r"\x1b\[[0-9;]*m", "", call(*command.split(), flag))
    for option in options:
        assert option in printed


def test_help_names_every_command(call):
    printed = call("--help")
    # typer names a command after its function
    found = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    found |= {group.typer_instance.info.name for group in cli.app.registered_groups}
    assert found == {command.split()[0] for command in HELP}
    assert all(command in printed for command in found)
