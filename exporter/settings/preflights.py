"""Settings of preflights: which targets a test needs, what has to be true of them, and when."""

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

#: What is wrong where somebody asks for a preflight and there is none.
NO_PREFLIGHTS = f"no preflight is configured; list one below `{PREFLIGHTS}` in the configuration"

#: Monday is the first, as `datetime.weekday` counts.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: The longest window: one that is longer than a day would run into its next one.
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
        source: The name of a source, or a list of them; all sources if not given.
        include: A regular expression for whole names: what does not match is not needed.
        exclude: Likewise: what matches is not needed.
    """

    source: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = ()
    include: Regex | None = None
    exclude: Regex | None = None

    def takes(self, source: str, name: str) -> bool:
        """Return whether a target is one of them."""
        if self.source and source not in self.source:
            return False
        if self.exclude is not None and self.exclude.fullmatch(name):
            return False
        return self.include is None or self.include.fullmatch(name) is not None


class Machines(Choice):
    """Targets of which some may be missing.

    Attributes:
        min_up: How many have to be fit at least; 1 if not given.
        max_down: How many may be unfit at most. If not given: any number where `min_up` is given,
            else none.
    """

    min_up: Annotated[Whole, Field(ge=0)] | None = None
    max_down: Annotated[Whole, Field(ge=0)] | None = None

    @property
    def needed(self) -> int:
        """Return how many have to be fit."""
        return 1 if self.min_up is None else self.min_up

    @property
    def tolerated(self) -> float:
        """Return how many may be unfit."""
        if self.max_down is not None:
            return self.max_down
        return 0 if self.min_up is None else float("inf")


class Suites(Choice):
    """Suites, all of which have to be fit.

    Attributes:
        slower_than_usual: How many times its usual duration the newest passed run of a suite may
            have taken. While too few runs are known to say what is usual, the suite passes.
    """

    slower_than_usual: Annotated[Number, Field(ge=1)] | None = None


#: What is demanded of targets where nothing is said of them: all have to be fit.
ALL = Machines()


# The only way to a field with the name of a keyword.
_Lasting = create_model("_Lasting", __base__=Section, **{"for": (TimeLimit, 3600.0)})  # type: ignore[call-overload]


class Window(_Lasting):  # type: ignore[misc, valid-type]
    """The time before a test, in which the fleet has to be fit.

    Attributes:
        before: When the test begins: the end of the window, a time of day in quotes.
        for: How long the window is.
        days: The days of `before`; every day if not given.
        time_zone: The time zone of `before` and `days`, by its name in the IANA database.
    """

    before: Annotated[
        time | None,
        BeforeValidator(lambda value: None if value is None else _read_time(value)),
        PlainSerializer(lambda value: None if value is None else f"{value:%H:%M}"),
    ] = None
    days: tuple[Literal[DAYS], ...] = DAYS  # type: ignore[valid-type]
    time_zone: Annotated[str, AfterValidator(_check_zone)] = "UTC"

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        if self.before is None:
            yield Mistake(("before",), 'is missing; write when the test begins, such as "02:00"')
        if not self.days:
            text = "names no day; leave it out for every day"
            yield Mistake(("days",), text, about=("days",))
        if self.seconds > _LONGEST_SECONDS:
            yield Mistake(("for",), "is longer than a day; a window ends before its next one")

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        length: float = getattr(self, "for")
        return length


class PreflightSettings(Section):
    """The conditions under which the fleet is fit for a test; at least one has to be given.

    Attributes:
        name: The `preflight` label; no two share one.
        agents: The agents that the test needs; one is fit if it is up, active and not outdated, and
            keeps to `clock`, `idle` and `max_age`. Without it, `clock`, `users` and `idle` are
            about the members of the clusters, and without these about all agents.
        clusters: The clusters that it needs; one is fit if it can be used, is active and not
            outdated, and all its members are up, active and not outdated.
        suites: The suites that it is made of; one is fit if the vendor finds it runnable, as far as
            the vendor tells, no run of it is in flight, and it keeps to `slower_than_usual`.
        clock: How far the clock of an agent may be off.
        users: How many virtual users the fit agents together have to be able to carry.
        idle: Whether nothing may run on the agents.
        max_age: How old a reading may be of the targets that the other conditions are about; of all
            agents if there is no other. A target with an older reading is not known to be fit.
        window: The time before the test, in which the fleet has to be fit.
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
        """Yield what is wrong although each field is right by itself."""
        if not self.name:
            yield Mistake(("name",), "is missing; give the preflight a name")
        if not any(getattr(self, check) for check in _CHECKS):
            yield Mistake((), f"checks nothing; give one of {', '.join(_CHECKS)}", _CHECKS)

    @property
    def choices(self) -> Iterator[tuple[str, Choice]]:
        """Yield the targets that are chosen, with their keys."""
        for key in ("agents", "clusters", "suites"):
            choice: Choice | None = getattr(self, key)
            if choice is not None:
                yield key, choice


def preflights(
    raw: object, sources: Sequence[SourceSettings] | None, *, sharded: bool, remembers: bool
) -> tuple[tuple[PreflightSettings, ...], list[Mistake]]:
    """Check the list of preflights.

    Args:
        raw: Plain data as it came from the layers.
        sources: All sources, `None` if a mistake hides which there are or what they list.
        sharded: Whether this process watches only a share of the targets.
        remembers: Whether there is a history, which says what is usual.

    Returns:
        Those that are right, and all mistakes with their places in the configuration.
    """
    if not isinstance(raw, list | tuple):
        return (), [Mistake((PREFLIGHTS,), "must be a list; begin each preflight with a dash")]
    mistakes: list[Mistake] = []
    if raw and sharded:
        text = "judge the whole fleet, and a shard knows its share alone; leave them out here"
        mistakes.append(Mistake((PREFLIGHTS,), f"{text}, and ask an exporter without shards"))
    listing = None
    if sources is not None:
        listing = {each.name: listed_kinds(each.provider, each.intervals()) for each in sources}
    found: dict[str, PreflightSettings] = {}
    for index, each in enumerate(raw):
        outcome = checked(PreflightSettings, each)
        settings, wrong = outcome.settings, list(outcome.mistakes)
        # Of a list of sources in which one is wrong by itself, the rest is not what was meant.
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
    """Yield a mistake for every source that cannot have what a preflight wants of it.

    Args:
        preflight: The preflight.
        listing: By the name of each source the kinds of targets that its tasks list.
    """
    for key, choice in preflight.choices:
        several = len(choice.source) > 1
        for index, name in enumerate(choice.source):
            place = (key, "source", index) if several else (key, "source")
            if name not in listing:
                remedy = nearest(name, listing, otherwise=f"write one of {', '.join(listing)}")
                yield Mistake(place, f"no source has this name; {remedy}")
            elif key.removesuffix("s") not in listing[name]:
                remedy = "name another source, or switch on the task that lists them"
                yield Mistake(place, f"{name} lists no {key}; {remedy}")


def listed_kinds(provider: str, tasks: Iterable[str]) -> frozenset[str]:
    """Return the kinds of targets that the tasks of a source list."""
    kinds = by_task(PROVIDERS[provider].kinds, tasks)
    return frozenset(kind for found in kinds.values() for kind in found)


def _age_mistakes(
    preflight: PreflightSettings, sources: Iterable[SourceSettings]
) -> Iterator[Mistake]:
    """Yield a mistake for every task whose readings get too old from one poll to the next."""
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
