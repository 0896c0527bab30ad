"""`completion`: shell completion of commands, flags and choices, made from the parsers."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING

import msgspec


if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from exporter.commands.parser import Parser


# The bash function. In POSIX mode bash allows no hyphen in a function's name.
_FUNCTION = "_loadfleet_exporter"

_FILES, _FOLDERS = "FILE", "FOLDER"


class _Argument(msgspec.Struct, frozen=True, kw_only=True):
    """A flag or a positional argument of a command.

    Attributes:
        flags: The spellings of a flag; empty for a positional argument.
        about: The help text without the environment variable.
        takes: The placeholder of the value; empty without a value.
        choices: The allowed values; empty if any value is allowed.
        several: Whether a positional argument can be repeated.
    """

    flags: tuple[str, ...]
    about: str
    takes: str
    choices: tuple[str, ...]
    several: bool = False

    @classmethod
    def of(cls, action: argparse.Action) -> _Argument:
        """Return the argument that an action of argparse declares."""
        return cls(
            flags=tuple(action.option_strings),
            about=re.sub(r" \[\$\w+\]$", "", action.help or "").replace("%%", "%"),
            takes="" if action.nargs == 0 else str(action.metavar or action.dest).upper(),
            choices=tuple(str(choice) for choice in action.choices or ()),
            several=action.nargs == "*",
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the argument that names the shell."""
    parser.add_argument(
        "shell", metavar="SHELL", choices=tuple(_SHELLS), help=f"one of: {', '.join(_SHELLS)}"
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print the script.

    Returns:
        The exit code, 0.
    """
    del environ
    parser: Parser = arguments.parser
    lines = _SHELLS[arguments.shell](parser.prog, parser.commands)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _arguments(parser: Parser) -> list[_Argument]:
    return [_Argument.of(action) for action in parser.arguments]


def _bash(program: str, commands: Mapping[str, Parser]) -> Iterator[str]:
    """Yield the lines of a script. Bash splits `--flag=value` into three words."""
    yield f"# bash completion of {program}"
    yield f"{_FUNCTION}() {{"
    yield '    local word=${COMP_WORDS[COMP_CWORD]} flag="" words="" command=${COMP_WORDS[1]}'
    yield '    [[ $word == "=" ]] && word=""'
    yield "    flag=${COMP_WORDS[COMP_CWORD-1]}"
    yield '    [[ ${COMP_WORDS[COMP_CWORD]} == "=" ]] || [[ $flag != "=" ]] \\'
    yield "        || flag=${COMP_WORDS[COMP_CWORD-2]}"
    yield "    if (( COMP_CWORD == 1 )) && [[ $word != -* ]]; then"
    yield f'        COMPREPLY=( $(compgen -W "{" ".join(commands)}" -- "$word") )'
    yield "        return"
    yield "    fi"
    yield "    [[ $command == -* ]] && command=run"
    yield '    case "$command $flag" in'
    for name, parser in commands.items():
        for argument in _arguments(parser):
            if argument.flags and argument.takes:
                where = " | ".join(f'"{name} {flag}"' for flag in argument.flags)
                yield f"        {where}) {_bash_values(argument)} ;;"
    yield "    esac"
    yield "    case $command in"
    for name, parser in commands.items():
        found = [*parser.flags]
        for argument in _arguments(parser):
            found += () if argument.flags else argument.choices
        yield f'        {name}) words="{" ".join(found)}" ;;'
    yield "    esac"
    yield '    COMPREPLY=( $(compgen -W "$words" -- "$word") )'
    yield "}"
    yield f"complete -F {_FUNCTION} {program}"


def _bash_values(argument: _Argument) -> str:
    if argument.takes in (_FILES, _FOLDERS):
        kind = "-f" if argument.takes == _FILES else "-d"
        names = f"local IFS=$'\\n'; COMPREPLY=( $(compgen {kind} -- \"$word\") )"
        return f"compopt -o filenames 2>/dev/null; {names}; return"
    if argument.choices:
        words = " ".join(argument.choices)
        return f'COMPREPLY=( $(compgen -W "{words}" -- "$word") ); return'
    return "return"


def _zsh(program: str, commands: Mapping[str, Parser]) -> Iterator[str]:
    # zsh loads a function from the file of the same name in $fpath.
    function = f"_{program}"
    yield f"#compdef {program}"
    yield f"compdef {function} {program}"
    yield f"{function}() {{"
    yield "    local -a commands=("
    for name, parser in commands.items():
        yield f"        {shlex.quote(f'{name}:{parser.description}')}"
    yield "    )"
    yield "    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then"
    yield "        _describe command commands"
    yield "        return"
    yield "    fi"
    yield "    local command=$words[2]"
    yield "    if [[ $command == -* ]]; then"
    yield "        command=run"
    yield "    else"
    yield "        shift words"
    yield "        (( CURRENT-- ))"
    yield "    fi"
    yield "    case $command in"
    for name, parser in commands.items():
        specs = [shlex.quote(spec) for each in _arguments(parser) for spec in _zsh_specs(each)]
        yield f"        {name}) _arguments {' '.join(specs)} ;;"
    yield "    esac"
    yield "}"
    # A sourced script only registers the function; an autoloaded one also has to call it.
    yield f'[[ "$funcstack[1]" == "{function}" ]] && {function} "$@"'
    yield "true"


def _zsh_specs(argument: _Argument) -> Iterator[str]:
    about = re.sub(r"([\\:\[\]])", r"\\\1", argument.about)
    if argument.choices:
        values = f"({' '.join(argument.choices)})"
    else:
        values = {_FILES: "_files", _FOLDERS: "_files -/"}.get(argument.takes, "")
    taken = f":{argument.takes}:{values}" if argument.takes else ""
    for flag in argument.flags:
        yield f"*{flag}{'=' if taken else ''}[{about}]{taken}"
    if not argument.flags:
        yield f"{'*' if argument.several else ''}{taken or f':{argument.takes}:'}"


def _fish(program: str, commands: Mapping[str, Parser]) -> Iterator[str]:
    yield f"# fish completion of {program}"
    yield f"complete -c {program} -f"
    for name, parser in commands.items():
        about = _fish_quoted(str(parser.description))
        yield f"complete -c {program} -n __fish_use_subcommand -a {name} -d {about}"
    for name, parser in commands.items():
        when = f"-n '__fish_seen_subcommand_from {name}'"
        for argument in _arguments(parser):
            rest = f"{_fish_values(argument)} -d {_fish_quoted(argument.about)}"
            for flag in argument.flags:
                option = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                yield f"complete -c {program} {when} {option}{rest}"
            if not argument.flags and argument.choices:
                yield f"complete -c {program} {when}{rest}"


def _fish_values(argument: _Argument) -> str:
    if not argument.takes:
        return ""
    if argument.takes in (_FILES, _FOLDERS):
        return " -r -F" if argument.takes == _FILES else " -x -a '(__fish_complete_directories)'"
    words = f" -a {_fish_quoted(' '.join(argument.choices))}" if argument.choices else ""
    return f" -x{words}" if argument.flags else words


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SHELLS: Mapping[str, Callable[[str, Mapping[str, Parser]], Iterable[str]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
