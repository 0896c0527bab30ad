"""Drawings of a target's history: bars of its states, and a strip of a suite's runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.readings import Outcome
from exporter.history.records import Transition
from exporter.history.summary import Look, TargetHistory
from exporter.overview.format import count, duration, listed, words
from exporter.overview.rows import word


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exporter.history.records import SuiteResult
    from exporter.history.summary import Segment, Span


#: The size of a bar in units of the drawing, which is stretched to the available width.
BAR_WIDTH = 720
BAR_HEIGHT = 24

#: The least width of a segment that is not `up`, which is 4 minutes of a day.
_NARROWEST = 2.0

#: The heights of the states, so that they differ not only in colour; later ones cover earlier ones.
HEIGHTS: Mapping[Look, int] = {"unknown": 2, "inactive": 6, "up": 12, "partly": 18, "down": 24}

#: The most transitions and runs that are shown, the newest first.
SHOWN_TRANSITIONS = 20
SHOWN_RUNS = 40

_NAMES: Mapping[str, str] = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}

RUN_WIDTH = 16
RUN_HEIGHT = 56
_LETTER_HEIGHT = 14

_LETTERS: Mapping[Outcome, str] = {
    Outcome.PASSED: "P",
    Outcome.FAILED: "F",
    Outcome.INCOMPLETE: "I",
    Outcome.ABORTED: "A",
    Outcome.ERROR: "E",
    Outcome.NO_DATA: "N",
    Outcome.NO_VERDICT: "?",
}


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A span as a bar, from its beginning on the left to now on the right.

    Attributes:
        paths: An SVG path for each state that occurs.
        label: The content of the bar in words.
        uptime: The uptime in percent, rounded down so that 100 % means no failure at all.
    """

    name: str
    begin_timestamp_seconds: float
    paths: tuple[tuple[Look, str], ...]
    label: str
    uptime: str
    outages: int
    longest_outage_seconds: float | None
    mean_repair_seconds: float | None


class RunBar(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a bar whose height shows the run's duration.

    Attributes:
        x, y, height: The position and the height in units of the drawing.
        verdict: `up` for a passed run, `down` for one that did not pass, else `unknown`.
        letter: The letter of the run's outcome.
        label: The content of the bar in words.
    """

    x: int
    y: int
    height: int
    verdict: str
    letter: str
    label: str


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """The newest runs, the newest on the right.

    Attributes:
        longest_seconds: The duration of the highest bar.
        legend: Letter, name and number of each outcome that occurs.
    """

    width: int
    height: int
    runs: tuple[RunBar, ...]
    longest_seconds: float | None
    legend: tuple[tuple[str, str, int], ...]
    label: str


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """The history of a target, as its page shows it.

    Attributes:
        legend: State, SVG path and word of each state that occurs in any bar.
        transitions: The newest transitions, the newest first, each with the seconds for which its
            condition has lasted.
        more: The number of transitions that are not shown.
    """

    history: TargetHistory
    bars: tuple[Bar, ...]
    legend: tuple[tuple[Look, str, str], ...]
    transitions: tuple[tuple[Transition, float], ...]
    more: int
    strip: Strip | None


def past(history: TargetHistory, kind: str, now: float) -> Past:
    """Return the drawings of a target's history."""
    bars = tuple(_bar(span, kind) for span in history.spans)
    looks = {look for bar in bars for look, _ in bar.paths}
    ends = [now, *(each.timestamp_seconds for each in history.transitions)]
    shown = list(zip(history.transitions, ends, strict=False))[:SHOWN_TRANSITIONS]
    return Past(
        history=history,
        bars=bars,
        legend=tuple(
            (look, _rectangle(look, 0, BAR_HEIGHT), word(look, kind))
            for look in HEIGHTS
            if look in looks
        ),
        transitions=tuple((each, end - each.timestamp_seconds) for each, end in shown),
        more=len(history.transitions) - len(shown),
        strip=strip(history.runs) if history.runs else None,
    )


def percent(part: int, whole: int) -> str:
    """Return a share in percent, rounded down to a hundredth."""
    return f"{part * 10_000 // whole / 100:g} %"


def _bar(span: Span, kind: str) -> Bar:
    readings = span.readings_up + span.readings_down
    return Bar(
        name=_NAMES[span.span],
        begin_timestamp_seconds=span.begin_timestamp_seconds,
        paths=tuple(_paths(span)),
        label=_in_words(span, kind),
        uptime=percent(span.readings_up, readings) if readings else "",
        outages=span.outages,
        longest_outage_seconds=span.longest_outage_seconds,
        mean_repair_seconds=span.mean_repair_seconds,
    )


def _paths(span: Span) -> Iterator[tuple[Look, str]]:
    length = span.end_timestamp_seconds - span.begin_timestamp_seconds
    scale = BAR_WIDTH / length if length > 0 else 0.0
    for look in HEIGHTS:
        found = [each for each in span.timeline if each.state == look]
        if found:
            begin = span.begin_timestamp_seconds
            yield look, "".join(_drawn(each, begin, scale) for each in found)


def _drawn(segment: Segment, begin: float, scale: float) -> str:
    left = (segment.begin_timestamp_seconds - begin) * scale
    width = (segment.end_timestamp_seconds - segment.begin_timestamp_seconds) * scale
    if segment.state != "up" and width < _NARROWEST:
        left, width = min(left, BAR_WIDTH - _NARROWEST), _NARROWEST
    return _rectangle(segment.state, left, width)


def _rectangle(look: Look, left: float, width: float) -> str:
    height = HEIGHTS[look]
    across = f"{width:.1f}"
    return f"M{left:.1f} {BAR_HEIGHT - height}h{across}v{height}h-{across}z"


def _in_words(span: Span, kind: str) -> str:
    seconds: Counter[Look] = Counter()
    for each in span.timeline:
        seconds[each.state] += round(each.end_timestamp_seconds - each.begin_timestamp_seconds)
    whole = sum(seconds.values())
    shares = [
        f"{word(look, kind)} {percent(seconds[look], whole)}"
        for look in reversed(list(HEIGHTS))
        if seconds[look]
    ]
    return f"The newest {_NAMES[span.span]}, by time: {listed(shares)}"


def strip(runs: Sequence[SuiteResult]) -> Strip:
    """Return the strip of a suite's newest runs.

    Args:
        runs: The runs, the newest first, at least one.
    """
    shown = runs[:SHOWN_RUNS]
    longest = max((each.duration_seconds or 0.0 for each in shown), default=0.0)
    tally = Counter(each.outcome for each in shown)
    legend = tuple(
        (_LETTERS[outcome], words(outcome), tally[outcome]) for outcome in Outcome if tally[outcome]
    )
    outcomes = listed([f"{number} {name}" for _, name, number in legend])
    return Strip(
        width=RUN_WIDTH * len(shown),
        height=RUN_HEIGHT,
        runs=tuple(_run_bars(shown, longest)),
        longest_seconds=longest or None,
        legend=legend,
        label=f"The newest {count(len(shown), 'run')}: {outcomes}",
    )


def _run_bars(newest_first: Iterable[SuiteResult], longest: float) -> Iterator[RunBar]:
    room = RUN_HEIGHT - _LETTER_HEIGHT
    for position, run in enumerate(reversed(list(newest_first))):
        share = (run.duration_seconds or 0.0) / longest if longest else 0.0
        height = max(2, round(share * room))
        took = f", took {duration(run.duration_seconds)}" if run.duration_seconds else ""
        yield RunBar(
            x=position * RUN_WIDTH,
            y=room - height,
            height=height,
            verdict={True: "up", False: "down", None: "unknown"}[run.passed],
            letter=_LETTERS[run.outcome],
            label=f"{run.run_id}: {words(run.outcome)}{took}",
        )
