"""The command `loadfleet-exporter`: which sub-command, and what its end means to the shell."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from exporter import __version__
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

# The command that tells the flags of all.
_TELLS_ALL = "completion"


class CommandModule(Protocol):
    """The interface of a module in `exporter.commands`."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare the command's flags."""
        ...

    def execute(self, arguments: argparse.Namespace, environ: Mapping[str, str], /) -> int:
        """Do it and return the exit code."""
        ...


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command, whose module is imported once it is used: all together take half a second.

    Attributes:
        module: The module's name in `exporter.commands`.
        summary: What the command does.
    """

    module: str
    summary: str

    def load(self) -> CommandModule:
        """Return the module."""
        return cast("CommandModule", import_module(f"exporter.commands.{self.module}"))


COMMANDS = {
    "run": Command(module="run", summary="poll the fleet and serve its metrics until told to stop"),
    "demo": Command(
        module="demo",
        summary="watch a simulated fleet: metrics and pages with real numbers, no configuration",
    ),
    "simulate": Command(
        module="simulate",
        summary="serve simulated vendors with a living fleet, for tests and for trying things out",
    ),
    "check-config": Command(
        module="check", summary="check the configuration; exit 2 if something is wrong with it"
    ),
    "status": Command(
        module="status",
        summary="poll once and print how the fleet is; exit 1 if a critical or warning condition of"
        " the alert table holds or something could not be read; with --url ask a running daemon"
        " instead",
    ),
    "preflight": Command(
        module="preflight",
        summary="tell whether the fleet is fit for a test; exit 0 fit, 1 not fit, 2 mistake, 3 not"
        " known; with --url ask a running daemon instead of the vendors",
    ),
    "explain": Command(
        module="explain",
        summary="ask about one target now: the reply, what was read from it, the samples",
    ),
    "state": Command(
        module="state",
        summary="check the state, make its file smaller, or print what is in it; also while in use",
    ),
    "providers": Command(
        module="providers",
        summary="print the providers that can be configured, those of plug-ins too; exit 1 if a"
        " plug-in cannot be used",
    ),
    "conformance": Command(
        module="conformance",
        summary="try a plug-in against its simulated vendor: reads only, never locked out, keeps"
        " secrets, survives every fault, accuses nobody without evidence; exit 1 if something does"
        " not hold",
    ),
    "metrics": Command(
        module="metrics", summary="print the names, labels and meanings of the fleet's metrics"
    ),
    "rules": Command(module="rules", summary="print the alert rules for Prometheus or Grafana"),
    "alert-test": Command(
        module="alert_test",
        summary="send a marked alert of each severity through the configured Alertmanagers, tell"
        " what each of them answered, and resolve the alerts; exit 1 if one was not accepted",
    ),
    "dashboards": Command(
        module="dashboards",
        summary="print the dashboards for Grafana, or write them to a folder",
    ),
    "completion": Command(
        module="completion",
        summary="print what completes this program's commands, flags and choices in a shell",
    ),
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
    command = COMMANDS[arguments.command].load()
    if not gc.isenabled():
        # As the process began; searches for garbage leave out what was imported.
        gc.freeze()
        gc.enable()
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
    top = {"-h", "--help", "--version"}
    if not argv or (argv[0].startswith("-") and argv[0] not in top):
        argv = [DEFAULT_COMMAND, *argv]
    for name, command in COMMANDS.items():
        declared = commands.add_parser(name, help=command.summary, description=command.summary)
        # Nobody asks for the flags of the others.
        if argv[0] in {name, _TELLS_ALL}:
            command.load().add_arguments(declared)
    return parser.parse_args(argv)
