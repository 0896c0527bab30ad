"""Settings of preflights: the targets that a test needs, the conditions, and the window."""

from __future__ import annotations

import re
from datetime import time
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, create_model

from exporter.config.types import (
    Boolean,
    Number,
    Regex,
    TimeLimit,
    Whole,
    WrongValueError,
    format_duration,
)
from exporter.config.validation import Mistake, Section, checked
from exporter.config.words import nearest
from exporter.fleet.kinds import by_task
from exporter.sources.registry import PROVIDERS
from exporter.sources.settings import Name


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from exporter.sources.settings import SourceSettings


#: The key of the list in the configuration.
PREFLIGHTS = "preflights"

#: Error text for a request for preflights if there are none.
NO_PREFLIGHTS = f"no preflight is configured; list one below `{PREFLIGHTS}` in the configuration"

#: In the order of `datetime.weekday`.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: Maximum length of a window: a longer one would overlap that of the next day.
_LONGEST_SECONDS = 86_400.0

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")

_CHECKS = ("agents", "clusters", "suites", "clock", "users", "idle", "max_age")


def _read_time(value: object) -> time:
    if isinstance(value, time):
        return value
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        # YAML reads 22:00 without quotes as a number.
        raise WrongValueError('must be a time of day in quotes, such as "02:00"')
    return time(int(match[1]), int(match[2]))


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        remedy = nearest(name, available_timezones(), otherwise="write one such as Europe/Zurich")
        raise WrongValueError(f"is no time zone; {remedy}") from None
    return name


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str | int | float) else value


class Choice(Section):
    """Targets of one kind.

    Attributes:
        source: The name of a source, or a list of names; all sources by default.
        include: A regular expression; only targets whose whole name matches are needed.
        exclude: A regular expression; targets whose whole name matches are not needed.
    """

    source: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = ()
    include: Regex | None = None
    exclude: Regex | None = None

    def takes(self, source: str, name: str) -> bool:
        """Return whether a target is chosen."""
        if self.source and source not in self.source:
            return False
        if self.exclude is not None and self.exclude.fullmatch(name):
            return False
        return self.include is None or self.include.fullmatch(name) is not None


class Machines(Choice):
    """Targets of which some may be unfit.

    Attributes:
        min_up: The minimum number of fit targets; 1 by default.
        max_down: The maximum number of unfit targets; by default any number if `min_up` is given,
            else 0.
    """

    min_up: Annotated[Whole, Field(ge=0)] | None = None
    max_down: Annotated[Whole, Field(ge=0)] | None = None

    @property
    def needed(self) -> int:
        """The minimum number of fit targets."""
        return 1 if self.min_up is None else self.min_up

    @property
    def tolerated(self) -> float:
        """The maximum number of unfit targets."""
        if self.max_down is not None:
            return self.max_down
        return 0 if self.min_up is None else float("inf")


class Suites(Choice):
    """Suites, all of which must be fit.

    Attributes:
        slower_than_usual: The newest passed run of a suite may have taken at most this many times
            its usual duration. While too few runs are known for a usual duration, the suite passes.
    """

    slower_than_usual: Annotated[Number, Field(ge=1)] | None = None


#: The default for targets without a condition of their own: all must be fit.
ALL = Machines()


# `for` is a keyword, so the field cannot be declared in the class.
_Lasting = create_model("_Lasting", __base__=Section, **{"for": (TimeLimit, 3600.0)})  # type: ignore[call-overload]


class Window(_Lasting):  # type: ignore[misc, valid-type]
    """The time before a test, in which the fleet must be fit.

    Attributes:
        before: The start of the test and the end of the window, a time of day in quotes.
        for: The length of the window.
        days: The days of `before`; every day by default.
        time_zone: The time zone of `before` and `days`, as named in the IANA database.
    """

    before: Annotated[
        time | None,
        BeforeValidator(lambda value: None if value is None else _read_time(value)),
        PlainSerializer(lambda value: None if value is None else f"{value:%H:%M}"),
    ] = None
    days: tuple[Literal[DAYS], ...] = DAYS  # type: ignore[valid-type]
    time_zone: Annotated[str, AfterValidator(_check_zone)] = "UTC"

    def mistakes(self) -> Iterator[Mistake]:
        """Yield mistakes in the combination of fields."""
        if self.before is None:
            yield Mistake(("before",), 'is missing; write the start of the test, such as "02:00"')
        if not self.days:
            text = "names no day; leave it out for every day"
            yield Mistake(("days",), text, about=("days",))
        if self.seconds > _LONGEST_SECONDS:
            yield Mistake(("for",), "is longer than a day; windows of two days must not overlap")

    @property
    def seconds(self) -> float:
        """The length of the window."""
        length: float = getattr(self, "for")
        return length


class PreflightSettings(Section):
    """The conditions under which the fleet is fit for a test. At least one must be given.

    Attributes:
        name: The unique value of the `preflight` label.
        agents: The agents that the test needs. An agent is fit if it is up, active and not
            outdated, and meets `clock`, `idle` and `max_age`. Without `agents`, the conditions
            `clock`, `users` and `idle` apply to the members of `clusters`, or without `clusters`
            to all agents.
        clusters: The clusters that the test needs. A cluster is fit if it is usable, active and
            not outdated, and all its members are up, active and not outdated.
        suites: The suites that the test runs. A suite is fit if the vendor reports it as runnable
            (or does not report that at all), no run of it is in flight, and it meets
            `slower_than_usual`.
        clock: The maximum deviation of an agent's clock.
        users: The number of virtual users that the fit agents together must be able to run.
        idle: Whether the agents must be idle.
        max_age: The maximum age of the readings of all targets in the other conditions, or of all
            agents if there is no other condition. With an older reading, a target's fitness is
            unknown.
        window: The time before the test, in which the fleet must be fit.
    """

    name: Name = ""
    agents: Machines | None = None
    clusters: Machines | None = None
    suites: Suites | None = None
    clock: TimeLimit | None = None
    users: Annotated[Whole, Field(ge=1)] | None = None
    idle: Boolean = False
    max_age: TimeLimit | None = None
    window: Window | None = None

    def mistakes(self) -> Iterator[Mistake]:
        """Yield mistakes in the combination of fields."""
        if not self.name:
            yield Mistake(("name",), "is missing; give the preflight a name")
        if not any(getattr(self, check) for check in _CHECKS):
            yield Mistake((), f"checks nothing; give one of {', '.join(_CHECKS)}", _CHECKS)

    @property
    def choices(self) -> Iterator[tuple[str, Choice]]:
        """The choices of targets that are given, with their keys."""
        for key in ("agents", "clusters", "suites"):
            choice: Choice | None = getattr(self, key)
            if choice is not None:
                yield key, choice


def preflights(
    raw: object, sources: Sequence[SourceSettings] | None, *, sharded: bool, remembers: bool
) -> tuple[tuple[PreflightSettings, ...], list[Mistake]]:
    """Check the list of preflights.

    Args:
        raw: Plain data from the layers.
        sources: All sources; `None` if their names or tasks have mistakes.
        sharded: Whether this process is one of several shards.
        remembers: Whether there is a history, which has the usual durations.

    Returns:
        The preflights, and all mistakes with their paths in the configuration.
    """
    if not isinstance(raw, list | tuple):
        return (), [Mistake((PREFLIGHTS,), "must be a list; begin each preflight with a dash")]
    mistakes: list[Mistake] = []
    if raw and sharded:
        text = "need the whole fleet, but a shard polls only a part of it; remove them here"
        mistakes.append(Mistake((PREFLIGHTS,), f"{text}, and use an exporter without shards"))
    listing = None
    if sources is not None:
        listing = {each.name: listed_kinds(each.provider, each.intervals()) for each in sources}
    found: dict[str, PreflightSettings] = {}
    for index, each in enumerate(raw):
        outcome = checked(PreflightSettings, each)
        settings, wrong = outcome.settings, list(outcome.mistakes)
        # If a name in a list of sources is invalid, the rest of the list is not what was meant.
        named = not any(mistake.path[1:2] == ("source",) for mistake in wrong)
        if sources is not None and listing is not None and named:
            wrong += [*source_mistakes(settings, listing), *_age_mistakes(settings, sources)]
        if settings.suites and settings.suites.slower_than_usual and not remembers:
            text = "cannot be checked without a history; leave it out, or give history.keep"
            wrong.append(Mistake(("suites", "slower_than_usual"), text))
        if settings.name in found and settings.name:
            wrong.append(Mistake(("name",), "another preflight has this name; give each its own"))
        mistakes += (
            Mistake((PREFLIGHTS, index, *mistake.path), mistake.text, mistake.about)
            for mistake in wrong
        )
        found.setdefault(settings.name, settings)
    return tuple(found.values()), mistakes


def source_mistakes(
    preflight: PreflightSettings, listing: Mapping[str, Collection[str]]
) -> Iterator[Mistake]:
    """Yield a mistake for every source that is unknown or lists no targets of the needed kind.

    Args:
        preflight: The preflight.
        listing: For each source's name, the kinds of targets that its tasks list.
    """
    for key, choice in preflight.choices:
        several = len(choice.source) > 1
        for index, name in enumerate(choice.source):
            place = (key, "source", index) if several else (key, "source")
            if name not in listing:
                remedy = nearest(name, listing, otherwise=f"write one of {', '.join(listing)}")
                yield Mistake(place, f"no source has this name; {remedy}")
            elif key.removesuffix("s") not in listing[name]:
                remedy = "name another source, or enable the task that lists them"
                yield Mistake(place, f"{name} lists no {key}; {remedy}")


def listed_kinds(provider: str, tasks: Iterable[str]) -> frozenset[str]:
    """Return the kinds of targets that the tasks of a source list."""
    kinds = by_task(PROVIDERS[provider].kinds, tasks)
    return frozenset(kind for found in kinds.values() for kind in found)


def _age_mistakes(
    preflight: PreflightSettings, sources: Iterable[SourceSettings]
) -> Iterator[Mistake]:
    """Yield a mistake for every task whose interval is longer than `max_age`."""
    limit = preflight.max_age
    if limit is None:
        return
    for key, choice in dict(preflight.choices).items() or [("agents", Choice())]:
        for source in sources:
            intervals = source.intervals()
            for task, kinds in by_task(PROVIDERS[source.provider].kinds, intervals).items():
                chosen = not choice.source or source.name in choice.source
                if chosen and key.removesuffix("s") in kinds and limit < intervals[task]:
                    interval = format_duration(intervals[task])
                    text = f"is shorter than the interval of {task} of {source.name}, {interval}"
                    yield Mistake(("max_age",), f"{text}; raise it")
