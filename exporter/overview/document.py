"""The fleet as JSON documents, which the API writes and the commands read.

JSON has no infinity: as in Prometheus' API, the string `"+Inf"` represents it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from exporter.overview.preflight.report import Capacity, Report, overall
from exporter.overview.problems import Problem
from exporter.overview.rows import ROWS, RunRow, TargetRow
from exporter.overview.sources import SourceRow
from exporter.overview.verdict import Headline


if TYPE_CHECKING:
    from collections.abc import Iterable


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon's answer about its whole fleet, from `/api/v1/status`.

    Attributes:
        total_shards: The number of shards of the fleet, of which the daemon watches one.
    """

    ready: bool
    total_shards: int = 1
    headline: Headline
    problems: tuple[Problem, ...]
    sources: tuple[SourceRow, ...]
    targets: tuple[TargetRow, ...]
    runs: tuple[RunRow, ...]


class _Written(msgspec.Struct):
    """The same answer before its rows of targets are decoded, whose types depend on their kinds."""

    ready: bool
    headline: Headline
    problems: tuple[Problem, ...]
    sources: tuple[SourceRow, ...]
    targets: list[Any]
    runs: tuple[RunRow, ...]
    total_shards: int = 1


class _Reply(msgspec.Struct):
    data: _Written


class _Verdict(msgspec.Struct):
    preflights: list[dict[str, Any]]


class _VerdictReply(msgspec.Struct):
    data: _Verdict


def plain(value: Any) -> Any:
    """Return rows as values that JSON can represent."""
    match value:
        case float() if math.isnan(value):
            return None
        case float() if math.isinf(value):
            return "+Inf" if value > 0 else "-Inf"
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case msgspec.Struct():
            return plain(msgspec.to_builtins(value))
        case _:
            return value


def success(**data: Any) -> bytes:
    """Return the JSON of a successful answer with facts and sequences of rows.

    Long sequences are encoded row by row.
    """
    encoder = msgspec.json.Encoder()
    parts = []
    for name, value in data.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            encoded = b"[%s]" % b",".join([encoder.encode(plain(row)) for row in value])
        else:
            encoded = encoder.encode(plain(value))
        parts.append(b'"%s":%s' % (name.encode(), encoded))
    return b'{"status":"success","data":{%s}}' % b",".join(parts)


def verdict(reports: Iterable[Report]) -> bytes:
    """Return the JSON of a successful answer with the reports of preflights."""
    found = tuple(reports)
    return success(status=overall(found), preflights=list(map(_report, found)))


def _report(report: Report) -> msgspec.Raw:
    # The checks can name each target several times, and hold no infinite number to replace.
    rest = plain(msgspec.structs.replace(report, checks=()))
    return msgspec.Raw(msgspec.json.encode(rest | {"checks": report.checks}))


def told(body: bytes) -> Told:
    """Return the decoded answer of a daemon of this version about its fleet.

    Raises:
        ValueError: The body is no such document.
    """
    try:
        written = msgspec.json.decode(body, type=_Reply).data
        targets = tuple(map(_row, written.targets))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("the document is of another kind or version") from error
    return Told(
        ready=written.ready,
        total_shards=written.total_shards,
        headline=written.headline,
        problems=written.problems,
        sources=written.sources,
        targets=targets,
        runs=written.runs,
    )


def reports(body: bytes) -> tuple[Report, ...]:
    """Return the decoded reports of a daemon of this version, from `/api/v1/preflight`.

    Raises:
        ValueError: The body is no such document, or holds no report.
    """
    try:
        written = msgspec.json.decode(body, type=_VerdictReply).data.preflights
        found = tuple(
            msgspec.convert(each | {"capacity": _numbered(each.get("capacity"), Capacity)}, Report)
            for each in written
        )
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("the document is of another kind or version") from error
    if not found:
        raise ValueError("the document holds no preflight")
    try:
        # Only reports with a window have a time zone.
        for name in {each.time_zone for each in found if each.end_timestamp_seconds is not None}:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError("the document names an unknown time zone") from error
    return found


def _row(data: Any) -> TargetRow:
    """Return the row of which `plain` made these values.

    Raises:
        msgspec.ValidationError: This version knows no such row.
    """
    found: dict[str, Any] = msgspec.convert(data, dict)
    row = ROWS.get(found.get("kind", ""), TargetRow)
    return msgspec.convert(_numbered(found, row), row)


def _numbered(data: Any, made: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the values with numbers in place of the strings for infinity."""
    found: dict[str, Any] = msgspec.convert(data, dict)
    infinite = {
        name: float(found[name]) for name in _numbers(made) if found.get(name) in ("+Inf", "-Inf")
    }
    return found | infinite


@cache
def _numbers(made: type[msgspec.Struct]) -> tuple[str, ...]:
    fields = msgspec.structs.fields(made)
    return tuple(each.name for each in fields if each.type in (float, float | None))
