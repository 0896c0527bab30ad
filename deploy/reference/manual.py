"""`python -m deploy.reference.manual DATE` prints the manual page, in the format of mdoc(7)."""

from __future__ import annotations

import re
import sys
import textwrap
from datetime import date
from typing import TYPE_CHECKING

from deploy.reference.commands import arguments_of
from exporter import __version__, cli
from exporter.settings import flags


if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence


_HEAD = r"""
.Dd {date}
.Dt LOADFLEET-EXPORTER 1
.Os
.Sh NAME
.Nm loadfleet-exporter
.Nd Prometheus exporter for load-testing fleets
.Sh SYNOPSIS
.Nm
.Op Cm run
.Op Ar options
.Nm
.Ar command
.Op Ar options
.Op Ar arguments
.Nm
.Fl -help | Fl -version
.Sh DESCRIPTION
.Nm
polls the interfaces of Real Load, BlazeMeter and Eggplant DAI on a schedule.
It serves the reachability, versions, clocks and test results of their load
generators to Prometheus, and a page for people.
Without a command the daemon runs.
.Pp
This page is of version {version}.
A command prints its arguments with
.Fl -help .
"""

_OPTIONS = r"""
.Sh OPTIONS
A flag overrides its environment variable, and both override the corresponding
setting of the configuration file.
A flag without a value has an opposite that begins with
.Fl -no- .
"""

_ENVIRONMENT = r"""
.Sh ENVIRONMENT
Each flag of the list above has a variable.
Flags without a value take
.Cm true
or
.Cm false ,
repeatable ones take values that are separated by commas.
Every other setting has a variable too: its name is
.Ev LOADFLEET_
followed by the section and the keys, joined by two underscores.
An empty variable counts as not set.
.Bl -tag -width Ds
"""

_REST = r"""
.Sh FILES
.Bl -tag -width Ds
.It Pa loadfleet.yml
The configuration in the current folder, the default.
.It Pa /etc/loadfleet/loadfleet.yml
The configuration of the systemd unit.
.It Pa /etc/loadfleet/secrets
The secrets that systemd passes to the unit.
Only root can read this folder.
.It Pa /var/lib/loadfleet
The state of the unit's daemon.
.It Pa /usr/share/loadfleet-exporter
Alert rules for Prometheus, dashboards for Grafana, and the SBOM.
.It Pa /usr/share/doc/loadfleet-exporter/examples
Configurations of Prometheus and Alertmanager.
.El
.Sh EXIT STATUS
.Bl -tag -width Ds
.It 0
Success.
.It {failed}
Failure at run time, or a fleet with problems or not fit.
.It {usage}
Mistake in usage or configuration.
.It 3
Unknown result of
.Cm preflight .
.It {interrupted}
Ended by Ctrl-C.
.El
.Sh SIGNALS
.Bl -tag -width Ds
.It Dv SIGHUP
The daemon loads its configuration again.
If it has a mistake, nothing changes.
.It Dv SIGTERM , SIGINT
The daemon waits up to 5 seconds for running polls, and stops.
.El
.Sh EXAMPLES
Monitor a simulated fleet, without a configuration:
.Pp
.Dl loadfleet-exporter demo
.Pp
Check a configuration:
.Pp
.Dl loadfleet-exporter check-config --config.file=loadfleet.yml
.Pp
Print the state of the fleet from a running daemon:
.Pp
.Dl loadfleet-exporter status --url=http://localhost:10871
.Sh SEE ALSO
.Xr journalctl 1 ,
.Xr prometheus 1 ,
.Xr systemctl 1
.Pp
.Lk https://github.com/loadfleet/loadfleet-exporter Documentation
"""

#: Maximum line width. mandoc warns of lines above 80 bytes and of sentences within a line.
_WIDTH = 78


def page(day: date) -> str:
    """Return the manual page.

    Args:
        day: The date of the version, for the foot of the page.
    """
    lines = [
        _HEAD.strip().format(date=f"{day:%B} {day.day}, {day.year}", version=__version__),
        ".Sh COMMANDS",
        *(line for name in cli.COMMANDS for line in _command(name)),
        _OPTIONS.strip(),
        ".Bl -tag -width Ds",
        *(line for flag in flags.ALL for line in _flag(flag)),
        ".El",
        _ENVIRONMENT.strip(),
        *(
            line
            for flag in flags.ALL
            for line in (f".It Ev {flag.environment}", "See", f".Fl -{flag.name} .")
        ),
        ".El",
        _REST.strip().format(failed=cli.FAILED, usage=cli.USAGE, interrupted=cli.INTERRUPTED),
    ]
    return "\n".join(lines) + "\n"


def _command(name: str) -> Iterator[str]:
    taken = list(arguments_of(name))
    shared = {f"--{flag.name}" for flag in flags.ALL}
    own = [(option, action) for option, action in taken if option not in shared]
    summary = cli.COMMANDS[name].summary
    yield f".Ss {name}"
    yield from _text(f"{summary[0].upper()}{summary[1:]}.")
    if own:
        yield ".Bl -tag -width Ds"
        for option, action in own:
            yield f".It {_spelled(option, str(action.metavar or ''), _choices(action))}"
            yield from _text(_sentence(re.sub(r" \[\$\w+\]$", "", action.help or "")))
        yield ".El"
    if common := [option for option, _ in taken if option in shared]:
        yield ".Pp"
        yield "It also takes" if own else "It takes"
        for number, option in enumerate(common, 1):
            yield f".Fl {option[1:]} {'.' if number == len(common) else ','}"


def _choices(action: argparse.Action) -> tuple[str, ...]:
    return tuple(map(str, action.choices or ()))


def _flag(flag: flags.Flag) -> Iterator[str]:
    yield f".It {_spelled(f'--{flag.name}', flag.metavar, flag.choices)}"
    yield from _text(_sentence(flag.help))


def _spelled(option: str, metavar: str, choices: Sequence[str]) -> str:
    if not option.startswith("-"):
        return f"Ar {option}"
    values = f"Ar {metavar}" if metavar else " | ".join(f"Cm {choice}" for choice in choices)
    return f"Fl {option[1:]}" + (f" Ns = Ns {values}" if values else "")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _text(text: str) -> Iterator[str]:
    """Yield a text as lines for mdoc. Each sentence begins a new line."""
    plain = text.replace("%%", "%").replace("\\", "\\e")
    for sentence in re.split(r"(?<=[.?!]) ", plain):
        for line in textwrap.wrap(sentence, _WIDTH, break_on_hyphens=False):
            # At the beginning of a line, `.` and `'` would call a macro. Escaped hyphens keep
            # flags in a form that users can copy.
            begun = rf"\&{line}" if line.startswith((".", "'")) else line
            yield re.sub(r"(?<![\w-])--?(?=\w)", lambda found: found[0].replace("-", r"\-"), begun)


if __name__ == "__main__":
    sys.stdout.write(page(date.fromisoformat(sys.argv[1])))
