"""The conditions of a preflight by flags, for who has configured none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.commands.selection import source_names
from exporter.config.validation import KeyPath, checked
from exporter.settings.preflights import PreflightSettings, source_mistakes


if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Mapping


#: The name of the preflight that flags make.
NAME = "flags"

_SOURCE = "--source"

#: What is about agents without choosing them.
_ABOUT_AGENTS = ("users", "clock", "idle")


class _Flag(msgspec.Struct, frozen=True, kw_only=True):
    """A flag with the place of its value in the settings; without a metavar it takes none."""

    name: str
    place: tuple[str, ...]
    help: str
    metavar: str = ""

    @property
    def destination(self) -> str:
        """The attribute of the parsed arguments."""
        return self.name.removeprefix("--").replace("-", "_")


_FLAGS = (
    _Flag(
        name="--agents",
        place=("agents", "include"),
        metavar="REGEX",
        help="the agents with such names are needed, and have to be up, active and not outdated",
    ),
    _Flag(
        name="--min-up",
        place=("agents", "min_up"),
        metavar="N",
        help="at least this many of the agents have to be fit; all of them if neither this nor"
        " --max-down is given",
    ),
    _Flag(
        name="--max-down",
        place=("agents", "max_down"),
        metavar="N",
        help="at most this many of the agents may be unfit",
    ),
    _Flag(
        name="--clusters",
        place=("clusters", "include"),
        metavar="REGEX",
        help="the clusters with such names have to be usable, with all their members up",
    ),
    _Flag(
        name="--suites",
        place=("suites", "include"),
        metavar="REGEX",
        help="the suites with such names have to be runnable, and none of them may be running",
    ),
    _Flag(
        name="--slower-than-usual",
        place=("suites", "slower_than_usual"),
        metavar="FACTOR",
        help="the newest passed run of each suite may have taken at most this many times as long as"
        " usual",
    ),
    _Flag(
        name="--users",
        place=("users",),
        metavar="N",
        help="the fit agents together have to be able to carry this many users",
    ),
    _Flag(
        name="--clock",
        place=("clock",),
        metavar="DURATION",
        help="the clock of each agent may be off by at most this much",
    ),
    _Flag(name="--idle", place=("idle",), help="nothing may run on the agents"),
    _Flag(
        name="--max-age",
        place=("max_age",),
        metavar="DURATION",
        help="no reading may be older",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the conditions; the words of a preflight in the configuration."""
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
        help="only targets of this source are needed, repeatable",
    )


def given(arguments: argparse.Namespace) -> list[str]:
    """Return the names of the flags that were given, also of those without a value."""
    found = [
        flag.name for flag in _FLAGS if getattr(arguments, flag.destination) not in (None, False)
    ]
    return [*found, *([_SOURCE] if arguments.source else [])]


def read(
    arguments: argparse.Namespace, listing: Mapping[str, Collection[str]]
) -> tuple[PreflightSettings, tuple[str, ...]]:
    """Read the conditions as the configuration's own would be read.

    Args:
        arguments: The command's.
        listing: By the name of each source the kinds of targets that its tasks list.

    Returns:
        The preflight, and what is wrong with the flags, by their names.
    """
    empty = [flag.name for flag in _FLAGS if getattr(arguments, flag.destination) == ""]
    empty += [_SOURCE] if not all(arguments.source) else []
    outcome = checked(PreflightSettings, _raw(arguments, listing))
    mistakes = [*outcome.mistakes, *source_mistakes(outcome.settings, listing)]
    told = [f"{name}= has no value" for name in empty]
    told += (
        f"{name}: {mistake.text}"
        for mistake in mistakes
        for name in _names_of(mistake.path)
        if name not in empty
    )
    # A wrong source stands in each choice of targets.
    return outcome.settings, tuple(dict.fromkeys(told))


def _raw(arguments: argparse.Namespace, listing: Mapping[str, Collection[str]]) -> dict[str, Any]:
    raw: dict[str, Any] = {"name": NAME}
    for flag in _FLAGS:
        value = getattr(arguments, flag.destination)
        if value in (None, False):
            continue
        *sections, key = flag.place
        inner = raw
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    names = source_names(arguments.source, listing)
    chosen = [key for key in ("agents", "clusters", "suites") if key in raw]
    about_agents = not chosen or any(key in raw for key in _ABOUT_AGENTS)
    if about_agents and not {"agents", "clusters"}.intersection(chosen):
        # Else these conditions would be about the agents of all sources.
        chosen.append("agents")
    for key in chosen if names else ():
        raw.setdefault(key, {})["source"] = names
    return raw


def _names_of(path: KeyPath) -> Iterator[str]:
    """Yield the flag that stands for a place."""
    if len(path) > 1 and path[1] == "source":
        yield _SOURCE
    yield from (flag.name for flag in _FLAGS if flag.place == path[: len(flag.place)])
