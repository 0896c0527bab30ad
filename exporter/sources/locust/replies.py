"""The replies of Locust, reduced to the needed fields.

Request names, error texts, exceptions and the options in the page may hold addresses or secrets, so
they are neither kept nor shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.sources.api import measured, redacted_reply


if TYPE_CHECKING:
    from collections.abc import Mapping


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A worker in the master's list.

    Attributes:
        id: The host's name and 32 hexadecimal digits, which change with each start.
        cpu_usage: CPU use in percent of one core.
        memory_usage: Memory in bytes; 0 before the first sample.
    """

    id: str = ""
    state: str = ""
    user_count: float | None = None
    cpu_usage: float | None = None
    memory_usage: float | None = None


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to `GET /stats/requests`.

    Attributes:
        workers: The workers; `None` if the process runs without workers.
        stats: A row per request, and last the aggregate row; the rows stay undecoded.
    """

    state: str = ""
    user_count: float | None = None
    workers: tuple[WorkerRow, ...] | None = None
    stats: tuple[msgspec.Raw, ...] = ()

    @property
    def is_known(self) -> bool:
        """True if the reply has any of the expected fields."""
        return bool(self.state or self.stats) or self.workers is not None


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """The values in the page at `GET /`."""

    version: str = ""
    locustfile: str = ""


#: The names of the aggregate row; `Total` in versions up to 1.x.
_AGGREGATE = ("Aggregated", "Total")

_ARGUMENTS = re.compile(rb"window\.templateArgs\s*=\s*(\{.*\})")

#: In versions up to 2.15 the page has the version only in a link.
_RELEASE = re.compile(rb"/releases/tag/v?([0-9][0-9A-Za-z.]{0,30})")

_PERCENTILE = re.compile(r"response_time_percentile_(0\.[0-9]+)")


def aggregate(stats: Stats) -> dict[str, Any]:
    """Return the row for all requests; empty if there is none."""
    for raw in reversed(stats.stats):
        try:
            row = msgspec.json.decode(raw, type=dict[str, Any])
        except (ValueError, RecursionError):
            continue
        if row.get("name") in _AGGREGATE:
            return row
    return {}


def shown(body: bytes, stats: Stats) -> Any:
    """Return a redacted reply; its only row has the numbers of the aggregate row."""
    reply = redacted_reply(body, Stats)
    row = aggregate(stats)
    reply["stats"] = {key: row[key] for key in row if count(row, key) is not None}
    return reply


def count(row: Mapping[str, Any], key: str) -> float | None:
    """Return a quantity from a row, or `None` if it is missing or not a number of at least 0."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return measured(value)


def percentiles(row: Mapping[str, Any]) -> dict[str, float]:
    """Return response times in seconds by percentile, such as `95`."""
    found = {}
    for key in row:
        name = _PERCENTILE.fullmatch(key)
        milliseconds = count(row, key)
        if name is not None and milliseconds is not None and count(row, "num_requests"):
            found[f"{float(name[1]) * 100:g}"] = milliseconds / 1000
    return found


def arguments(page: bytes) -> Arguments:
    """Return the version and the name of the locustfile from the page; empty if not found."""
    found = _ARGUMENTS.search(page)
    if found is not None:
        try:
            return msgspec.json.decode(found[1], type=Arguments)
        except (ValueError, RecursionError):
            return Arguments()
    release = _RELEASE.search(page)
    return Arguments(version=release[1].decode() if release else "")
