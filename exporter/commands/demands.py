"""Preflight conditions given as flags, without a preflight in the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.commands.selection import source_names
from exporter.config.validation import KeyPath, checked
from exporter.overview.preflight.judge import CHOICE
from exporter.settings.preflights import PreflightSettings, source_mistakes


if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Mapping

    from exporter.overview.preflight.report import Report


#: The name of the preflight that flags make.
NAME = "flags"

_SOURCE = "--source"

#: Conditions that apply to agents but do not select any.
_ABOUT_AGENTS = ("users", "clock", "idle")


class _Flag(msgspec.Struct, frozen=True, kw_only=True):
    """A flag and the path of its value in the settings. Without a metavar it takes no value."""

    name: str
    path: tuple[str, ...]
    help: str
    metavar: str = ""

    @property
    def destination(self) -> str:
        """The attribute of the parsed arguments."""
        return self.name.removeprefix("--").replace("-", "_")


_FLAGS = (
    _Flag(
        name="--agents",
        path=("agents", "include"),
        metavar="REGEX",
        help="agents whose names match are needed; they must be up, active and not outdated",
    ),
    _Flag(
        name="--min-up",
        path=("agents", "min_up"),
        metavar="N",
        help="at least this many of the agents must be fit; without this and --max-down, all of"
        " them",
    ),
    _Flag(
        name="--max-down",
        path=("agents", "max_down"),
        metavar="N",
        help="at most this many of the agents may be unfit",
    ),
    _Flag(
        name="--clusters",
        path=("clusters", "include"),
        metavar="REGEX",
        help="clusters whose names match must be usable, with all their members up",
    ),
    _Flag(
        name="--suites",
        path=("suites", "include"),
        metavar="REGEX",
        help="suites whose names match must be runnable and not running",
    ),
    _Flag(
        name="--slower-than-usual",
        path=("suites", "slower_than_usual"),
        metavar="FACTOR",
        help="the newest passed run of each suite may have taken at most this many times its usual"
        " duration",
    ),
    _Flag(
        name="--users",
        path=("users",),
        metavar="N",
        help="the fit agents together must be able to run this many virtual users",
    ),
    _Flag(
        name="--clock",
        path=("clock",),
        metavar="DURATION",
        help="the clock of each agent may be wrong by at most this much",
    ),
    _Flag(name="--idle", path=("idle",), help="the agents must be idle"),
    _Flag(
        name="--max-age",
        path=("max_age",),
        metavar="DURATION",
        help="no reading may be older than this",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the conditions, named like the keys of a preflight in the configuration."""
    for flag in _FLAGS:
        if flag.metavar:
            parser.add_argument(flag.name, metavar=flag.metavar, help=flag.help)
        else:
            parser.add_argument(flag.name, action="store_true", help=flag.help)
    parser.add_argument(
        _SOURCE,
        action="append",
        default=[],
        metavar="NAME",
        help="only targets of this source are needed; repeatable",
    )


def given(arguments: argparse.Namespace) -> list[str]:
    """Return the names of the flags that were given, including flags without a value."""
    found = [
        flag.name for flag in _FLAGS if getattr(arguments, flag.destination) not in (None, False)
    ]
    return [*found, *([_SOURCE] if arguments.source else [])]


def read(
    arguments: argparse.Namespace, listing: Mapping[str, Collection[str]]
) -> tuple[PreflightSettings, tuple[str, ...]]:
    """Read the conditions with the same validation as those of the configuration.

    Args:
        arguments: The command's parsed arguments.
        listing: For each source's name, the kinds of targets that its tasks list.

    Returns:
        The preflight, and the mistakes, each with the name of its flag.
    """
    empty = [flag.name for flag in _FLAGS if getattr(arguments, flag.destination) == ""]
    empty += [_SOURCE] if not all(arguments.source) else []
    outcome = checked(PreflightSettings, _raw(arguments, listing))
    mistakes = [*outcome.mistakes, *source_mistakes(outcome.settings, listing)]
    texts = [f"{name}= has no value" for name in empty]
    texts += (
        f"{name}: {mistake.text}"
        for mistake in mistakes
        for name in _names_of(mistake.path)
        if name not in empty
    )
    # A wrong source is reported once per kind of target.
    return outcome.settings, tuple(dict.fromkeys(texts))


def by_flags(report: Report) -> Report:
    """Return a report whose reasons name flags instead of keys of the configuration."""
    checks = tuple(
        msgspec.structs.replace(
            check, reason=check.reason.replace(CHOICE, f"--{check.name} or {_SOURCE}")
        )
        for check in report.checks
    )
    return msgspec.structs.replace(report, checks=checks)


def _raw(arguments: argparse.Namespace, listing: Mapping[str, Collection[str]]) -> dict[str, Any]:
    raw: dict[str, Any] = {"name": NAME}
    for flag in _FLAGS:
        value = getattr(arguments, flag.destination)
        if value in (None, False):
            continue
        *sections, key = flag.path
        inner = raw
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    names = source_names(arguments.source, listing)
    chosen = [key for key in ("agents", "clusters", "suites") if key in raw]
    about_agents = not chosen or any(key in raw for key in _ABOUT_AGENTS)
    if about_agents and not {"agents", "clusters"}.intersection(chosen):
        # Otherwise these conditions would apply to the agents of all sources.
        chosen.append("agents")
    for key in chosen if names else ():
        raw.setdefault(key, {})["source"] = names
    return raw


def _names_of(path: KeyPath) -> Iterator[str]:
    """Yield the flags that set the value at a path of the settings."""
    if len(path) > 1 and path[1] == "source":
        yield _SOURCE
    yield from (flag.name for flag in _FLAGS if flag.path == path[: len(flag.path)])
