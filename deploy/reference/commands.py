"""Tables of the commands and their flags, from the command line's parsers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deploy.reference.markdown import code, table
from exporter import cli
from exporter.settings import flags


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


#: The notation of optional and of repeatable arguments, by `nargs`.
_OPTIONAL: Mapping[int | str | None, str] = {"?": "[{}]", "*": "[{}…]"}


def table_of_commands() -> str:
    """Return a table of the commands."""
    return table(
        ("Command", "Does"),
        (
            (code(_usage(name)), f"{command.summary[0].upper()}{command.summary[1:]}.")
            for name, command in cli.COMMANDS.items()
        ),
    )


def table_of_flags() -> str:
    """Return a table of the flags with environment variables, and the commands that take them."""
    taken = {name: {option for option, _ in arguments_of(name)} for name in cli.COMMANDS}
    return table(
        ("Flag", "Environment", "Meaning", "Taken by"),
        (
            (
                _spelled(f"--{flag.name}", flag.metavar, flag.choices),
                code(flag.environment),
                flag.help,
                ", ".join(code(name) for name in taken if f"--{flag.name}" in taken[name]),
            )
            for flag in flags.ALL
        ),
    )


def table_of_command_flags(command: str) -> str:
    """Return a table of a command's arguments and of its flags without environment variables."""
    shared = {f"--{flag.name}" for flag in flags.ALL}
    return table(
        ("Argument", "Meaning"),
        (
            (
                _spelled(option, str(action.metavar or ""), tuple(action.choices or ())),
                action.help or "",
            )
            for option, action in arguments_of(command)
            if option not in shared
        ),
    )


def arguments_of(command: str) -> Iterator[tuple[str, argparse.Action]]:
    """Yield the flags and arguments of a command with their names, without `--help`."""
    parser = argparse.ArgumentParser(add_help=False)
    cli.COMMANDS[command].load().add_arguments(parser)
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list
        if action.help == argparse.SUPPRESS:
            continue  # an old name
        yield (action.option_strings or [str(action.metavar)])[0], action


def _usage(name: str) -> str:
    arguments = (
        _OPTIONAL.get(action.nargs, "{}").format(option)
        for option, action in arguments_of(name)
        if not action.option_strings
    )
    shown = f"[{name}]" if name == cli.DEFAULT_COMMAND else name
    return " ".join(["loadfleet-exporter", shown, *arguments])


def _spelled(option: str, metavar: str, choices: tuple[str, ...]) -> str:
    value = metavar or "|".join(choices)
    return code(f"{option}={value}" if value and option.startswith("--") else option)
