"""The tables of the history, and the statements that write them or read a target's rows.

The table `hours` takes the most room: 10,000 targets have 7 million rows in a month. The rows are
sorted by hour, so that new rows are appended and old ones deleted together. Reading a target's rows
takes one look-up per hour.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from exporter.fleet.readings import Outcome
from exporter.history.records import (
    HOUR,
    Batch,
    Condition,
    Known,
    Records,
    SuiteResult,
    Tally,
    TargetKey,
    Transition,
)
from exporter.state.schema import (
    FOREIGN_TABLES,
    DamagedError,
    check,
    is_small,
    names,
    pragma,
    transaction,
    version_of,
)


if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from types import UnionType


#: SQLite's application id of the history's files; the state's file has another one.
APPLICATION_ID = 0x4C464548

_TABLES = {
    "targets": """(
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        kind TEXT NOT NULL,
        target_id TEXT NOT NULL,
        task TEXT NOT NULL,
        hour INTEGER NOT NULL,
        UNIQUE (source, kind, target_id)
    )""",
    "transitions": """(
        id INTEGER PRIMARY KEY,
        target INTEGER NOT NULL,
        at REAL NOT NULL,
        condition TEXT NOT NULL,
        outdated INTEGER NOT NULL,
        reason TEXT NOT NULL,
        UNIQUE (target, at, condition, outdated)
    )""",
    "hours": """(
        hour INTEGER NOT NULL,
        target INTEGER NOT NULL,
        up INTEGER NOT NULL,
        down INTEGER NOT NULL,
        inactive INTEGER NOT NULL,
        pings INTEGER NOT NULL,
        ping_sum INTEGER NOT NULL,
        ping_min INTEGER,
        ping_max INTEGER,
        PRIMARY KEY (hour, target)
    ) WITHOUT ROWID""",
    "runs": """(
        target INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        at REAL NOT NULL,
        outcome TEXT NOT NULL,
        start REAL,
        end REAL,
        duration REAL,
        PRIMARY KEY (target, run_id)
    ) WITHOUT ROWID""",
}

#: The statements that migrate a file from each version to the next; the first ones create it.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    tuple(f"CREATE TABLE {name} {columns}" for name, columns in _TABLES.items()),
    ("ALTER TABLE runs ADD COLUMN error_ratio REAL", "ALTER TABLE runs ADD COLUMN boot REAL"),
)

VERSION = len(_MIGRATIONS)

# The fields of `SuiteResult` in the last columns of `runs`.
_NUMBERS = (
    "start_timestamp_seconds",
    "end_timestamp_seconds",
    "duration_seconds",
    "error_ratio",
    "boot_seconds",
)

#: The most rows that one statement deletes.
PRUNED_ROWS = 5_000

_ADD_TARGET = """
    INSERT INTO targets (source, kind, target_id, task, hour) VALUES (?, ?, ?, ?, 0)
    ON CONFLICT (source, kind, target_id) DO UPDATE SET task = excluded.task
    WHERE task != excluded.task
"""
#: Finds the number of a target.
NUMBER = "SELECT id FROM targets WHERE source = ? AND kind = ? AND target_id = ?"
# `REPLACE` gives an existing row a new id, so that it is the newest row again. That matters for the
# replacement of a lost file: it first gets the newest transitions, then the batch that could not be
# written to the file, which holds the same transitions after older ones.
_ADD_TRANSITION = """
    INSERT OR REPLACE INTO transitions (target, at, condition, outdated, reason)
    VALUES (?, ?, ?, ?, ?)
"""
_ADD_HOUR = """
    INSERT INTO hours (hour, target, up, down, inactive, pings, ping_sum, ping_min, ping_max)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (hour, target) DO UPDATE SET
        up = up + excluded.up,
        down = down + excluded.down,
        inactive = inactive + excluded.inactive,
        pings = pings + excluded.pings,
        ping_sum = ping_sum + excluded.ping_sum,
        ping_min = min(ifnull(ping_min, excluded.ping_min), ifnull(excluded.ping_min, ping_min)),
        ping_max = max(ifnull(ping_max, excluded.ping_max), ifnull(excluded.ping_max, ping_max))
"""
_ADD_RUN = """
    INSERT INTO runs (target, run_id, at, outcome, start, end, duration, error_ratio, boot)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (target, run_id) DO UPDATE SET
        outcome = excluded.outcome, start = excluded.start, end = excluded.end,
        duration = excluded.duration,
        error_ratio = ifnull(excluded.error_ratio, error_ratio),
        boot = ifnull(excluded.boot, boot)
"""
_NEWEST = """
    SELECT source, kind, target_id, task, at, condition, outdated, reason, max(transitions.id)
    FROM transitions JOIN targets ON targets.id = target GROUP BY target
"""
# The transition in force at `:before` is kept, as it holds the condition from then on.
_PRUNE_TRANSITIONS = """
    DELETE FROM transitions WHERE id IN (
        SELECT id FROM transitions AS older WHERE at < :before AND EXISTS (
            SELECT 1 FROM transitions AS newer WHERE newer.target = older.target
            AND newer.id > older.id AND newer.at < :before
        ) LIMIT :rows
    )
"""
_PRUNE_HOURS = """
    DELETE FROM hours WHERE (hour, target) IN (
        SELECT hour, target FROM hours WHERE hour < :hour LIMIT :rows
    )
"""
_PRUNE_RUNS = """
    DELETE FROM runs WHERE (target, run_id) IN (
        SELECT target, run_id FROM runs WHERE at < :before LIMIT :rows
    )
"""
_HOURS_OF = """
    WITH RECURSIVE wanted (hour) AS (
        SELECT ? UNION ALL SELECT hour + 1 FROM wanted WHERE hour < ?
    )
    SELECT hours.hour, up, down, inactive, pings, ping_sum, ping_min, ping_max
    FROM wanted CROSS JOIN hours ON hours.hour = wanted.hour AND hours.target = ?
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Migrate a file to the newest schema, after a check that it is one of the history's.

    Raises:
        sqlite3.DatabaseError: The file is damaged or foreign.
        StateError: The file is of a newer version; it stays unchanged.
    """
    version = known_version(connection)
    if version and is_small(connection):
        check(connection)
    if version == VERSION:
        return
    connection.execute("PRAGMA journal_mode = WAL")
    with transaction(connection):
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def known_version(connection: sqlite3.Connection) -> int:
    """Return the version of a file, 0 if it is empty.

    Raises:
        sqlite3.DatabaseError: The file is damaged or foreign.
        StateError: The file is of a newer version.
    """
    found = {name for name in names(connection) if not name.startswith("sqlite_")}
    version = version_of(
        connection, found, APPLICATION_ID, VERSION, setting="history.path", name="the history"
    )
    if version and found != _TABLES.keys():
        raise DamagedError(FOREIGN_TABLES)
    return version


def rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows by table."""
    if not known_version(connection):
        return dict.fromkeys(_TABLES, 0)
    return {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
        for table in _TABLES
    }


def write(connection: sqlite3.Connection, batches: Iterable[Batch]) -> None:
    """Add batches, all of them or none."""
    with transaction(connection):
        for batch in batches:
            _add(connection, batch)


def _add(connection: sqlite3.Connection, batch: Batch) -> None:
    connection.executemany(_ADD_TARGET, ((*target, task) for target, task in batch.tasks.items()))
    # Only the targets of the batch: the table may hold many more that are gone.
    targets = {target for target, _ in batch.transitions}
    targets |= {target for target, _, _ in batch.runs} | {target for _, target in batch.tallies}
    numbers = {target: connection.execute(NUMBER, target).fetchone()[0] for target in targets}
    connection.executemany(
        _ADD_TRANSITION,
        (
            (numbers[key], each.timestamp_seconds, each.condition, each.outdated, each.reason)
            for key, each in batch.transitions
        ),
    )
    # In the order of the table's key, so that its pages are filled one after the other.
    rows = sorted(
        ((hour, numbers[key], each) for (hour, key), each in batch.tallies.items()),
        key=itemgetter(0, 1),
    )
    connection.executemany(
        _ADD_HOUR, ((hour, number, *astuple(each)) for hour, number, each in rows)
    )
    connection.executemany(
        "UPDATE targets SET hour = ? WHERE id = ? AND hour < ?",
        ((hour, number, hour) for hour, number, _ in rows),
    )
    connection.executemany(
        _ADD_RUN,
        (
            (
                numbers[key],
                each.run_id,
                at,
                each.outcome,
                each.start_timestamp_seconds,
                each.end_timestamp_seconds,
                each.duration_seconds,
                each.error_ratio,
                each.boot_seconds,
            )
            for key, at, each in batch.runs
        ),
    )


def newest(connection: sqlite3.Connection) -> list[Known]:
    """Return the newest transition of each target that is not gone."""
    found = (
        Known(key=TargetKey(*row[:3]), task=row[3], transition=_transition(*row[4:8]))
        for row in connection.execute(_NEWEST)
    )
    return [each for each in found if each.transition.condition is not Condition.GONE]


def everything(connection: sqlite3.Connection) -> Iterator[Batch]:
    """Yield the whole content of a history as batches for another one, with a batch per hour."""
    batch = Batch()
    keys = {}
    for number, *key, task in connection.execute(
        "SELECT id, source, kind, target_id, task FROM targets"
    ):
        keys[number] = TargetKey(*key)
        batch.tasks[keys[number]] = task
    for number, *row in connection.execute(
        "SELECT target, at, condition, outdated, reason FROM transitions ORDER BY id"
    ):
        batch.transitions.append((keys[number], _transition(*row)))
    for number, run_id, at, *row in connection.execute("SELECT * FROM runs"):
        batch.runs.append((keys[number], at, _result(run_id, *row)))
    yield batch
    rows = connection.execute("SELECT * FROM hours ORDER BY hour")
    for hour, same in groupby(rows, key=itemgetter(0)):
        batch = Batch()
        batch.tallies = {(hour, keys[number]): Tally(*row) for _, number, *row in same}
        yield batch


def read(connection: sqlite3.Connection, target: TargetKey, *, hours: range) -> Records | None:
    """Return the records of a target, `None` if the target is not known.

    Args:
        connection: The connection to the history.
        target: The target.
        hours: The wanted hours, numbered since the epoch.
    """
    found = connection.execute(NUMBER, target).fetchone()
    if found is None:
        return None
    (number,) = found
    transitions = connection.execute(
        "SELECT at, condition, outdated, reason FROM transitions WHERE target = ? ORDER BY id",
        (number,),
    )
    runs = connection.execute("SELECT * FROM runs WHERE target = ? ORDER BY at", (number,))
    rows = connection.execute(_HOURS_OF, (hours[0], hours[-1], number))
    return Records(
        transitions=tuple(_transition(*row) for row in transitions),
        hours={hour: _tally(*row) for hour, *row in rows},
        runs=tuple(_result(run_id, *row) for _, run_id, _, *row in runs),
    )


def _check_types(kinds: type | UnionType, *values: Any) -> None:
    """Check the types of values, which SQLite does not enforce.

    Raises:
        ValueError: A value has another type.
    """
    if not all(isinstance(each, kinds) for each in values):
        raise ValueError("a value is of the wrong type")


def _tally(*row: Any) -> Tally:
    _check_types(float | int | None, *row)
    return Tally(*row)


def _transition(at: float, condition: str, outdated: int, reason: str) -> Transition:
    _check_types(float, at)
    _check_types(str, reason)
    return Transition(
        timestamp_seconds=at,
        condition=Condition(condition),
        outdated=bool(outdated),
        reason=reason,
    )


def _result(run_id: str, outcome: str, *numbers: float | None) -> SuiteResult:
    _check_types(str, run_id)
    _check_types(float | None, *numbers)
    # In a file that an older version writes, the last columns are missing.
    known = dict(zip(_NUMBERS, numbers, strict=False))
    return SuiteResult(run_id=run_id, outcome=Outcome(outcome), **known)


def prune(connection: sqlite3.Connection, before: float, *, rows: int = PRUNED_ROWS) -> int:
    """Delete some of the rows older than a Unix time, and targets without any rows left.

    Returns:
        The number of deleted rows; 0 once nothing is left to delete.
    """
    values = {"before": before, "hour": int(before) // HOUR, "rows": rows}
    deleted = 0
    with transaction(connection):
        for statement in (_PRUNE_HOURS, _PRUNE_TRANSITIONS, _PRUNE_RUNS):
            deleted += connection.execute(statement, values).rowcount
        left = connection.execute(
            "SELECT id FROM targets WHERE hour < :hour AND NOT EXISTS"
            " (SELECT 1 FROM transitions WHERE target = targets.id AND at >= :before)"
            " AND NOT EXISTS (SELECT 1 FROM runs WHERE target = targets.id) LIMIT :rows",
            values,
        ).fetchall()
        for table in ("transitions WHERE target", "targets WHERE id"):
            connection.executemany(f"DELETE FROM {table} = ?", left)  # noqa: S608 - ours
        deleted += len(left)
    return deleted


def oldest_hour(connection: sqlite3.Connection) -> int | None:
    """Return the oldest hour with readings, `None` if there is none."""
    (found,) = connection.execute("SELECT min(hour) FROM hours").fetchone()
    return None if found is None else int(found)


def pages(connection: sqlite3.Connection) -> int:
    """Return the number of pages in use."""
    found: int = pragma(connection, "page_count") - pragma(connection, "freelist_count")
    return found
