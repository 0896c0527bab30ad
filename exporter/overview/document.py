"""The fleet as a document of JSON: what the API writes, and what the commands read of it.

JSON has no infinity: as in Prometheus' API it is the string `"+Inf"`.
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
    """A daemon's answer on its whole fleet, from `/api/v1/status`.

    Attributes:
        total_shards: Among how many shards the fleet is divided, of which the daemon is one.
    """

    ready: bool
    total_shards: int = 1
    headline: Headline
    problems: tuple[Problem, ...]
    sources: tuple[SourceRow, ...]
    targets: tuple[TargetRow, ...]
    runs: tuple[RunRow, ...]


class _Written(msgspec.Struct):
    """The same before the rows of targets are read, which depend on their kinds."""

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
    """Turn rows into values that JSON has."""
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
    """Write the envelope around facts and sequences of rows, which may be long."""
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
    """Write what preflights come to, in the envelope."""
    found = tuple(reports)
    return success(status=overall(found), preflights=list(map(_report, found)))


def _report(report: Report) -> msgspec.Raw:
    # The checks can name each target several times, and hold no number that JSON has not.
    rest = plain(msgspec.structs.replace(report, checks=()))
    return msgspec.Raw(msgspec.json.encode(rest | {"checks": report.checks}))


def told(body: bytes) -> Told:
    """Read what a daemon of this version says of its fleet.

    Raises:
        ValueError: It is no such document.
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
    """Read what a daemon of this version says of preflights, by `/api/v1/preflight`.

    Raises:
        ValueError: It is no such document, or says nothing.
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
        # A window has one.
        for name in {each.time_zone for each in found if each.end_timestamp_seconds is not None}:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError("the document names a time zone that is none") from error
    return found


def _row(data: Any) -> TargetRow:
    """Make a row of what `plain` has made of one.

    Raises:
        msgspec.ValidationError: It is none that this version knows.
    """
    found: dict[str, Any] = msgspec.convert(data, dict)
    row = ROWS.get(found.get("kind", ""), TargetRow)
    return msgspec.convert(_numbered(found, row), row)


def _numbered(data: Any, made: type[msgspec.Struct]) -> dict[str, Any]:
    """Make numbers of the words for infinite ones."""
    found: dict[str, Any] = msgspec.convert(data, dict)
    infinite = {
        name: float(found[name]) for name in _numbers(made) if found.get(name) in ("+Inf", "-Inf")
    }
    return found | infinite


@cache
def _numbers(made: type[msgspec.Struct]) -> tuple[str, ...]:
    fields = msgspec.structs.fields(made)
    return tuple(each.name for each in fields if each.type in (float, float | None))
