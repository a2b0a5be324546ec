"""The page of the command line, from the commands themselves."""

from collections.abc import Iterator
from typing import Any

import typer

from purespike.cli import app


def page() -> str:
    """Every command with its arguments and options, as Markdown."""
    parts = [
        "# Command line",
        "`purespike COMMAND --help` says the same. Bad input is one line and exit code 2; an evaluation with "
        "`--strict` "
        "exits with 3 unless its verdict is reliable; `--debug` shows tracebacks. `purespike "
        "--install-completion` "
        "teaches your shell to complete commands, options and names.",
    ]
    for name, command in _commands(typer.main.get_command(app), ""):
        usage = " ".join(each for parameter in command.params if (each := _usage(parameter)))
        about = " ".join((command.help or "").split())
        parts += [f"## {name}", about, f"```text\npurespike {name} {usage}\n```", _table(command.params)]
    return "\n\n".join(parts) + "\n"


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.make_metavar(None) if parameter.metavar is None else parameter.metavar)
    return f"{parameter.opts[0]} …" if parameter.required else ""


def _table(parameters: list[Any]) -> str:
    rows = []
    for parameter in parameters:
        help = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
        shown = getattr(parameter, "show_default", None)
        default = shown if isinstance(shown, str) else ""
        default = default or _default(parameter.default)
        names = [*parameter.opts, *parameter.secondary_opts]
        name = (
            parameter.metavar or parameter.name
            if parameter.param_type_name == "argument"
            else ", ".join(names)
        )
        rows.append(f"| `{name}` | {default.replace('|', chr(92) + '|')} | {help} |")
    return "\n".join(["| | default | |", "|---|---|---|", *rows]) if rows else ""


def _default(value: Any) -> str:
    if value in (None, False, [], ()) or callable(value) or "UNSET" in repr(value):
        return ""
    return f"`{value}`"
