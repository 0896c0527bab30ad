"""Everything that is known about one target, without calls to a vendor."""

from __future__ import annotations

import shlex
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from exporter.fleet.kinds import Kind, target_of
from exporter.fleet.readings import Cluster, MinVersion, Reading, Run
from exporter.metrics.exposition import page_of
from exporter.overview.build import run_row, target_rows
from exporter.overview.format import (
    agents_up,
    duration,
    of_planned,
    share,
    signed,
    size,
    times,
    words,
)
from exporter.overview.rows import (
    AgentRow,
    ClusterRow,
    FinishedRun,
    LocationRow,
    RecorderRow,
    RunRow,
    SuiteRow,
    TargetRow,
)
from exporter.sources.registry import FAMILIES


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from exporter.clock import Moment
    from exporter.fleet.store import Snapshot


Fact = str | float | None


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """A target or a run, with all facts about it.

    Attributes:
        facts: The facts by name, as text or as a Unix time.
        clusters: The clusters of which an agent is a member.
        samples: The samples about the target, as lines of Prometheus' text format.
        command: The command line that asks the vendor about the target.
    """

    name: str
    row: TargetRow | RunRow
    facts: tuple[tuple[str, str | float], ...]
    clusters: tuple[ClusterRow, ...]
    samples: tuple[str, ...]
    command: str


def details(
    snapshots: Iterable[Snapshot], now: Moment, *, source: str, kind: str, target_id: str
) -> Details | None:
    """Return the details of a target, `None` if there is no reading of it."""
    id_field = Kind(kind).id_field if kind in [*Kind] else ""

    def is_about(reading: Reading) -> bool:
        match reading:
            case MinVersion():
                return True
            case _ if (found := target_of(reading)) is not None:
                return found == (kind, target_id)
            case _:
                return getattr(reading, id_field, None) == target_id

    of_source = [snapshot for snapshot in snapshots if snapshot.source == source]
    about = _narrowed(of_source, is_about)
    row = _row(about, now)
    if row is None:
        return None
    return Details(
        name=row.name or row.id,
        row=row,
        facts=tuple((name, value) for name, value in _facts(row) if value),
        clusters=_clusters(of_source, target_id, now) if kind == Kind.AGENT else (),
        samples=_lines(about),
        command=command(source, kind, target_id),
    )


def command(source: str, kind: str, target_id: str) -> str:
    """Return the command line that asks the vendor about a target, quoted for a shell."""
    arguments = [source, kind, target_id]
    if any(argument.startswith("-") for argument in arguments):
        arguments.insert(0, "--")
    return shlex.join(["loadfleet-exporter", "explain", *arguments])


def _narrowed(
    snapshots: Iterable[Snapshot], is_wanted: Callable[[Reading], bool]
) -> list[Snapshot]:
    return [
        msgspec.structs.replace(snapshot, readings=tuple(filter(is_wanted, snapshot.readings)))
        for snapshot in snapshots
    ]


def _row(snapshots: list[Snapshot], now: Moment) -> TargetRow | RunRow | None:
    runs = (
        run_row(reading, snapshot)
        for snapshot in snapshots
        for reading in snapshot.readings
        if isinstance(reading, Run)
    )
    rows: Iterator[TargetRow | RunRow] = chain(target_rows(snapshots, now), runs)
    return next(rows, None)


def _clusters(snapshots: list[Snapshot], agent_id: str, now: Moment) -> tuple[ClusterRow, ...]:
    def has_agent(reading: Reading) -> bool:
        return isinstance(reading, Cluster) and any(
            member.agent_id == agent_id for member in reading.members
        )

    rows = target_rows(_narrowed(snapshots, has_agent), now)
    return tuple(row for row in rows if isinstance(row, ClusterRow))


def _lines(snapshots: list[Snapshot]) -> tuple[str, ...]:
    own = _narrowed(snapshots, lambda reading: not isinstance(reading, MinVersion))
    pages = "".join(page_of(snapshot, families=FAMILIES).body.decode() for snapshot in own)
    return tuple(line for line in pages.split("\n") if line and not line.startswith("#"))


def _facts(row: TargetRow | RunRow) -> Iterator[tuple[str, Fact]]:
    yield "Id", row.id
    yield "Source", f"{row.source} ({row.provider})"
    if isinstance(row, RunRow):
        yield from _run_facts(row)
        return
    yield "Host", ":".join(part for part in (row.host, row.port) if part)
    yield "Location", row.location or ""
    yield "Version", row.version or ""
    yield "Oldest accepted version", row.minimum_version or ""
    yield "Clock", signed(row.clock_delta_seconds)
    usual = duration(row.usual_ping_seconds) if isinstance(row, AgentRow) else ""
    yield "Ping", _beside(duration(row.ping_duration_seconds), f"usually {usual}" if usual else "")
    yield "Last seen up", row.last_up_timestamp_seconds
    if row.protected is not None:
        yield "Demands a token", _yes(row.protected)
    yield from _own_facts(row)
    for name, value in sorted(row.labels.items()):
        yield f"Label {name}", value


def _own_facts(row: TargetRow) -> Iterator[tuple[str, Fact]]:
    match row:
        case AgentRow():
            if row.busy is not None:
                yield "Busy", _yes(row.busy)
            yield "Started and ended by", f"the {row.managed}" if row.managed else ""
            yield "Free disk space", size(row.disk_free_bytes)
            yield "Most users", _number(row.users_limit)
            yield "Longest job", duration(row.job_duration_limit_seconds)
            yield "Heartbeat", row.heartbeat_timestamp_seconds
        case RecorderRow(recording=recording) if recording is not None:
            yield "Records", _yes(recording)
        case ClusterRow():
            yield "Controller", row.controller
        case LocationRow():
            yield "Agents", agents_up(row.agents_up, row.agents)
            yield "Engines per agent", _number(row.slots)
            yield "Users per engine", _number(row.threads_per_engine)
        case SuiteRow():
            yield "Jobs", _number(row.jobs)
            yield "Newest run", words(row.last_run_outcome)
            if row.last_run_passed is not None:
                yield "Newest verdict", "passed" if row.last_run_passed else "not passed"
            yield "Newest run ended", row.last_run_end_timestamp_seconds
            yield from _usual_facts(row)
        case _:
            pass


def _usual_facts(suite: SuiteRow) -> Iterator[tuple[str, Fact]]:
    """Yield the usual values, each beside the value of the newest finished run."""
    newest = suite.finished_runs[0] if suite.finished_runs else FinishedRun(id="")
    for name, usual, found, write in (
        ("Usual duration", suite.usual_duration_seconds, newest.duration_seconds, duration),
        ("Usual errors", suite.usual_error_ratio, newest.error_ratio, share),
        ("Usual time to boot", suite.usual_boot_seconds, newest.boot_seconds, duration),
    ):
        ratio = times(found, usual)
        text = f"newest run {write(found)}{f' ({ratio})' if ratio else ''}"
        yield name, _beside(write(usual), text if found is not None else "")


def _beside(text: str, more: str) -> str:
    return f"{text}; {more}" if text and more else text


def _run_facts(row: RunRow) -> Iterator[tuple[str, Fact]]:
    yield "Suite", row.suite
    yield "Agent", row.agent
    yield "Location", row.location
    yield "Outcome", words(row.outcome)
    yield "Engines", of_planned(row.engines, row.engines_planned)
    if row.engine_errors:
        yield "Engine errors", "an engine was lost or ended in an error"
    if row.delayed_start:
        yield "Waits", "for somebody to start it"
    if row.internal_error:
        yield "Internal error", "reported by its newest log line"
    yield "Started", row.start_timestamp_seconds


def _yes(flag: bool) -> str:  # noqa: FBT001 - the value to be written
    return "yes" if flag else "no"


def _number(number: float | None) -> str:
    if number is None:
        return ""
    return "unlimited" if number == float("inf") else f"{number:g}"
