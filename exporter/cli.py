"""The command `loadfleet-exporter`: picks the sub-command and maps errors to exit codes."""

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

# The disk of the output is full, or its device is gone.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})

#: The command when none is named.
DEFAULT_COMMAND = "run"

# The command that needs the flags of all commands.
_NEEDS_ALL_FLAGS = "completion"


class CommandModule(Protocol):
    """The interface of a module in `exporter.commands`."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare the command's flags."""
        ...

    def execute(self, arguments: argparse.Namespace, environ: Mapping[str, str], /) -> int:
        """Run the command.

        Returns:
            The exit code.
        """
        ...


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command. Only the used command's module is imported: importing all takes half a second.

    Attributes:
        module: The module's name in `exporter.commands`.
        summary: What the command does.
    """

    module: str
    summary: str

    def load(self) -> CommandModule:
        """Return the command's module, imported now."""
        return cast("CommandModule", import_module(f"exporter.commands.{self.module}"))


COMMANDS = {
    "run": Command(
        module="run", summary="poll the fleet and serve its metrics until SIGTERM or Ctrl-C"
    ),
    "demo": Command(
        module="demo",
        summary="run the daemon with a simulated fleet, without a configuration",
    ),
    "simulate": Command(
        module="simulate",
        summary="serve simulated vendors with a changing fleet, for tests and trials",
    ),
    "check-config": Command(
        module="check", summary="check the configuration; exit 2 if it has a mistake"
    ),
    "status": Command(
        module="status",
        summary="poll once and print the state of the fleet; exit 1 if a critical or warning alert"
        " condition holds or something could not be polled; with --url ask a running daemon"
        " instead",
    ),
    "preflight": Command(
        module="preflight",
        summary="check whether the fleet is fit for a test; exit 0 fit, 1 not fit, 2 usage or"
        " configuration error, 3 unknown; with --url ask a running daemon instead of the vendors",
    ),
    "explain": Command(
        module="explain",
        summary="poll one target now and print the reply, the values read from it and the samples",
    ),
    "state": Command(
        module="state",
        summary="check, compact or print the stored state, also while a daemon uses it",
    ),
    "providers": Command(
        module="providers",
        summary="print the available providers, built in and from plug-ins; exit 1 if a plug-in"
        " cannot be used",
    ),
    "conformance": Command(
        module="conformance",
        summary="test a plug-in against its simulated vendor: it only reads, gets no account"
        " locked out, leaks no secrets, survives every fault and reports no target down without"
        " evidence; exit 1 if a check fails",
    ),
    "metrics": Command(
        module="metrics", summary="print the names, labels and meanings of the fleet's metrics"
    ),
    "rules": Command(module="rules", summary="print the alert rules for Prometheus or Grafana"),
    "alert-test": Command(
        module="alert_test",
        summary="send a test alert of each severity to the configured Alertmanagers, print their"
        " answers and resolve the alerts; exit 1 if an alert was not accepted",
    ),
    "dashboards": Command(
        module="dashboards",
        summary="print the dashboards for Grafana, or write them to a folder",
    ),
    "completion": Command(
        module="completion",
        summary="print a shell script that completes this program's commands, flags and choices",
    ),
}


def main(argv: Sequence[str] | None = None, *, environ: Mapping[str, str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; by default those of the process.
        environ: The environment; by default that of the process.

    Returns:
        The exit code: 0 on success, 1 after a failure at run time, 2 for a mistake in usage or
        configuration, 3 if a preflight's result is unknown, 130 after Ctrl-C.
    """
    # Python sets a stream to None if its descriptor was closed before the start.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - open until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - likewise
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Print `?` for characters that the terminal's encoding lacks, instead of failing.
        sys.stdout.reconfigure(errors="replace")
    arguments = parse(list(sys.argv[1:] if argv is None else argv))
    command = COMMANDS[arguments.command].load()
    if not gc.isenabled():
        # `__main__` disabled it. Frozen, the imported objects cost later collections nothing.
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
        # The command has closed its connections; the user needs no traceback.
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output is gone, as with `| head`, so an error text would be lost too.
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
    # The interpreter flushes standard output at exit, which would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the parsed arguments; without a command, parse them as flags of the daemon.

    Raises:
        SystemExit: With code 2 after a mistake, with 0 after `--help` and `--version`.
    """
    parser = Parser(
        prog="loadfleet-exporter",
        description="Watch a load-testing fleet and expose its state as metrics for Prometheus.",
        epilog=f"Without a command the daemon runs; for its flags see `{DEFAULT_COMMAND} --help`.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    # For `completion`, which lists all commands and flags.
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    top = {"-h", "--help", "--version"}
    if not argv or (argv[0].startswith("-") and argv[0] not in top):
        argv = [DEFAULT_COMMAND, *argv]
    for name, command in COMMANDS.items():
        declared = commands.add_parser(name, help=command.summary, description=command.summary)
        # Importing the other commands' modules for their flags would only take time.
        if argv[0] in {name, _NEEDS_ALL_FLAGS}:
            command.load().add_arguments(declared)
    return parser.parse_args(argv)
