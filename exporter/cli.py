"""The command `loadfleet-exporter`: which sub-command, and what its end means to the shell."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from exporter import __version__
from exporter.commands import (
    alert_test,
    check,
    completion,
    dashboards,
    demo,
    explain,
    metrics,
    preflight,
    rules,
    run,
    simulate,
    state,
    status,
)
from exporter.commands.parser import Parser
from exporter.errors import ConfigurationError, StartError


if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence


#: Exit codes other than 0.
FAILED, USAGE, INTERRUPTED = 1, 2, 130

# The output's disk is full, or its device is gone.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})

#: The command when none is named.
DEFAULT_COMMAND = "run"


class Command(Protocol):
    """The interface of a module in `exporter.commands`."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare the command's flags."""
        ...

    def execute(self, arguments: argparse.Namespace, environ: Mapping[str, str], /) -> int:
        """Do it and return the exit code."""
        ...


COMMANDS: dict[str, Command] = {
    "run": run,
    "demo": demo,
    "simulate": simulate,
    "check-config": check,
    "status": status,
    "preflight": preflight,
    "explain": explain,
    "state": state,
    "metrics": metrics,
    "rules": rules,
    "alert-test": alert_test,
    "dashboards": dashboards,
    "completion": completion,
}


def main(argv: Sequence[str] | None = None, *, environ: Mapping[str, str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; the process's if not given.
        environ: The environment; the process's if not given.

    Returns:
        0 when all is fine, 1 after a failure at run time, 2 for a mistake in usage or
        configuration, 3 for a preflight of which nothing is known, 130 after Ctrl-C.
    """
    # Whoever has closed them wants to read nothing.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - open until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - likewise
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot show in full is no reason to show nothing.
        sys.stdout.reconfigure(errors="replace")
    arguments = parse(list(sys.argv[1:] if argv is None else argv))
    command = COMMANDS[arguments.command]
    try:
        code = command.execute(arguments, os.environ if environ is None else environ)
        # Flushed here: at the interpreter's exit a BrokenPipeError would be past our handlers.
        sys.stdout.flush()
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"configuration: {problem}", file=sys.stderr)
        return USAGE
    except StartError as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        # What was under way has been closed; whoever pressed the keys needs no traceback.
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does; there is nobody left to tell.
        _discard_output()
        return FAILED
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        print(f"cannot write the output: {error.strerror}", file=sys.stderr)
        _discard_output()
        return FAILED
    return code


def _discard_output() -> None:
    # At its end the interpreter would try once more to write what is left.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the arguments; without a command they are the daemon's.

    Raises:
        SystemExit: With 2 after a mistake, with 0 after `--help` and `--version`.
    """
    parser = Parser(
        prog="loadfleet-exporter",
        description="Watch a load-testing fleet and tell Prometheus how it is.",
        epilog="Without a command it runs the daemon, whose flags are in"
        f" `{DEFAULT_COMMAND} --help`.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    # For the command that tells a shell of all of them.
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(
            commands.add_parser(name, help=command.SUMMARY, description=command.SUMMARY)
        )
    top = {"-h", "--help", "--version"}
    if not argv or (argv[0].startswith("-") and argv[0] not in top):
        argv = [DEFAULT_COMMAND, *argv]
    return parser.parse_args(argv)
