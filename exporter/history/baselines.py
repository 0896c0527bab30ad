"""Baselines: the usual values of suites and agents, computed from their history.

* The baselines of a suite are medians over its newest `RUNS` passed runs. At least `LEAST_RUNS` of
  them must have a value. The newest finished run is left out, whatever its outcome, because it is
  compared with the baseline. (While that run is not written yet, the run before it is left out.)
* The baseline of an agent is the median of the hourly means of its pings over the last `HOURS`
  hours, without the present one. At least `LEAST_HOURS` of them must have pings.

SQLite computes the medians, so that a week of hours of 10,000 agents need not be loaded into
Python. It computes them in slices of the targets, so that reads of the history do not wait long.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Usual
from exporter.fleet.usual import Usuals
from exporter.history import tables
from exporter.history.records import HOUR, PING_UNITS, TargetKey


if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping


#: The most and the fewest runs in a suite's baseline.
RUNS, LEAST_RUNS = 20, 5

#: The most and the fewest hours in an agent's baseline.
HOURS, LEAST_HOURS = 7 * 24, 24

#: The number of targets computed at once.
SLICE = 500

# Excludes values that are no numbers, or too large to have been measured, as in a damaged file.
_SOUND = "value BETWEEN 0 AND 1e12"

# The median: the middle value, or the mean of the two middle values.
_MEDIANS = f"""
    ranked AS (
        SELECT target, what, value,
            row_number() OVER (PARTITION BY target, what ORDER BY value) AS place,
            count(*) OVER (PARTITION BY target, what) AS number
        FROM known WHERE {_SOUND}
    )
    SELECT source, target_id, what, avg(value), number
    FROM ranked JOIN targets ON targets.id = target
    WHERE kind = :kind AND number >= :least AND place IN ((number + 1) / 2, (number + 2) / 2)
    GROUP BY target, what
"""  # noqa: S608 - ours
_OF_RUNS = f"""
    WITH kept AS (
        SELECT target, outcome, duration, error_ratio, boot,
            row_number() OVER (
                PARTITION BY target ORDER BY ifnull(start, at) DESC, run_id DESC
            ) AS age
        FROM runs WHERE target BETWEEN :first AND :last
    ),
    passed AS (
        SELECT *, row_number() OVER (PARTITION BY target ORDER BY age) AS place
        FROM kept WHERE age > 1 AND outcome = 'passed'
    ),
    counted AS (SELECT * FROM passed WHERE place <= :most),
    known AS (
        SELECT target, 'duration_seconds' AS what, duration AS value FROM counted
        UNION ALL SELECT target, 'error_ratio', error_ratio FROM counted
        UNION ALL SELECT target, 'boot_seconds', boot FROM counted
    ),
    {_MEDIANS}
"""  # noqa: S608 - ours
_OF_PINGS = f"""
    WITH RECURSIVE wanted (hour) AS (
        SELECT :begin UNION ALL SELECT hour + 1 FROM wanted WHERE hour < :end
    ),
    known AS (
        SELECT target, 'ping' AS what, ping_sum * 1.0 / pings AS value
        FROM wanted CROSS JOIN hours ON hours.hour = wanted.hour
            AND hours.target BETWEEN :first AND :last
        WHERE pings > 0
    ),
    {_MEDIANS}
"""  # noqa: S608 - ours
_SLICE = "SELECT id FROM targets WHERE id > ? ORDER BY id LIMIT ?"


class Baselines:
    """The baselines of all targets; one thread computes them while others may read them.

    Attributes:
        newest: The baselines by source, `None` before all of them have been computed once.
    """

    def __init__(self, *, time: Callable[[], float]) -> None:
        """Begin without baselines; `time` returns the Unix time."""
        self.newest: Mapping[str, Usuals] | None = None
        self._time = time
        self._next = _Found()

    def learn(self, connection: sqlite3.Connection, *, after: int) -> int | None:
        """Compute the baselines of the next slice of targets.

        Args:
            connection: The connection to the history.
            after: The number of the last target of the slice before; 0 begins with the first slice.

        Returns:
            The number of the slice's last target; `None` once all baselines are computed.
        """
        if not after:
            self._next = _Found()
        numbers = [number for (number,) in connection.execute(_SLICE, (after, SLICE))]
        if numbers:
            self._add_runs(connection, numbers[0], numbers[-1], self._next)
            self._add_pings(connection, numbers[0], numbers[-1], self._next)
            return int(numbers[-1])
        found, self._next = self._next, _Found()
        self.newest = {
            source: Usuals(suites=found.suites[source], pings=found.pings[source])
            for source in found.suites.keys() | found.pings.keys()
        }
        return None

    def renew(self, connection: sqlite3.Connection, suites: Collection[TargetKey]) -> None:
        """Compute the baselines of some suites again, after new runs were written."""
        if self.newest is None:
            return
        found = _Found()
        for suite in suites:
            for (number,) in connection.execute(tables.NUMBER, suite):
                self._add_runs(connection, number, number, found)
        newest = dict(self.newest)
        for source in {suite.source for suite in suites}:
            before = newest.get(source, Usuals())
            others = {
                suite_id: usual
                for suite_id, usual in before.suites.items()
                if TargetKey(source, Kind.SUITE, suite_id) not in suites
            }
            newest[source] = replace(before, suites=others | found.suites[source])
        self.newest = newest

    def _add_runs(
        self, connection: sqlite3.Connection, first: int, last: int, found: _Found
    ) -> None:
        medians: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        numbers: dict[tuple[str, str], int] = defaultdict(int)
        values = {
            "kind": Kind.SUITE,
            "first": first,
            "last": last,
            "most": RUNS,
            "least": LEAST_RUNS,
        }
        for source, suite_id, what, median, number in connection.execute(_OF_RUNS, values):
            medians[source, suite_id][what] = median
            numbers[source, suite_id] = max(number, numbers[source, suite_id])
        for (source, suite_id), each in medians.items():
            found.suites[source][suite_id] = Usual(runs=numbers[source, suite_id], **each)

    def _add_pings(
        self, connection: sqlite3.Connection, first: int, last: int, found: _Found
    ) -> None:
        present = int(self._time()) // HOUR
        values = {
            "kind": Kind.AGENT,
            "first": first,
            "last": last,
            "begin": present - HOURS,
            "end": present - 1,
            "least": LEAST_HOURS,
        }
        for source, agent_id, _, median, _ in connection.execute(_OF_PINGS, values):
            found.pings[source][agent_id] = median / PING_UNITS


class _Found:
    """The baselines computed so far, by source and target id."""

    def __init__(self) -> None:
        self.suites: defaultdict[str, dict[str, Usual]] = defaultdict(dict)
        self.pings: defaultdict[str, dict[str, float]] = defaultdict(dict)
