from __future__ import annotations

import asyncio
import math
import shutil
import sqlite3
import tracemalloc
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from structlog.testing import capture_logs

from exporter.clock import Moment
from exporter.errors import StateError
from exporter.fleet.readings import (
    Cluster,
    ClusterState,
    Location,
    Outcome,
    Suite,
    SuiteRun,
)
from exporter.history import tables
from exporter.history.database import MEMORY_BYTES, RETRY_SECONDS, Role
from exporter.history.history import BATCH_SECONDS
from exporter.history.records import HOUR
from exporter.history.summary import Hour
from exporter.overview.document import plain
from exporter.state.place import Place
from tests.history.feed import DAY, Feed, place
from tests.state.stores import entries
from tests.support.clock import FakeClock
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


def _refuse(feed: Feed, action: int) -> None:
    """Let the file refuse an action, as SQLite's authorizers name it."""
    connection = feed.history._database._connection
    assert connection is not None
    connection.set_authorizer(
        lambda asked, *_: sqlite3.SQLITE_DENY if asked == action else sqlite3.SQLITE_OK
    )


async def _recorded(folder: Path) -> Feed:
    """Return an exporter that has written an agent's history, which a test will change."""
    feed = await Feed(folder).begin()
    await feed.polls(True, False, True, seconds=1900.0)
    await feed.history.flush()
    await feed.history.aclose()
    with closing(sqlite3.connect(folder / "history.db")) as connection, connection:
        connection.execute(
            "INSERT INTO runs VALUES (1, 'run', 0.0, 'passed', 0.0, 0.0, 0.0, 0.0, 0.0)"
        )
    return feed


class TestForeignValues:
    @pytest.mark.parametrize("value", [-math.inf, 1e18, -1.0, 2**62, "text", b"\xff"])
    async def test_cost_at_most_their_target(self, tmp_path: Path, value: object) -> None:
        """SQLite keeps any value in any column: the process goes on, and others are shown."""
        before = await _recorded(tmp_path / "known")
        columns = [
            (table, row[1])
            for table in ("transitions", "hours", "runs")
            for row in _query(tmp_path / "known", f"PRAGMA table_info({table})")
            if row[1] not in {"id", "target"}
        ]
        for table, column in columns:
            folder = tmp_path / f"{table}-{column}"
            shutil.copytree(tmp_path / "known", folder)
            _query(folder, f"UPDATE OR REPLACE {table} SET {column} = ?", value)  # noqa: S608
            feed = await Feed(folder, before.clock).begin()

            await feed.put(feed.agent("8"))
            await feed.history.flush()
            await feed.history.compare()

            assert ["up"] == await feed.conditions("8"), column
            with suppress(StateError):
                msgspec.json.encode(plain(await feed.of()))
            await feed.history.aclose()


def _query(folder: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "history.db")) as connection, connection:
        return connection.execute(statement, values).fetchall()


class TestTransitions:
    async def test_are_changes_of_the_condition(self) -> None:
        """A target that stays as it is makes none."""
        feed = await Feed(None).begin()

        await feed.polls(True, True, False, False, True)

        assert ["up", "down", "up"] == await feed.conditions()

    async def test_have_their_time_and_reason(self) -> None:
        """A transition must have the time at which its call ended, and the reason."""
        feed = await Feed(None).begin()
        began = feed.clock.unix

        await feed.polls(True, False)

        found = await feed.of()
        assert found is not None
        assert [(began + 60, "not_reachable"), (began, "")] == [
            (each.timestamp_seconds, each.reason) for each in found.transitions
        ]

    async def test_not_knowing_is_none(self) -> None:
        """Down, then not known, then down is down all the time."""
        feed = await Feed(None).begin()

        await feed.polls(False, None, False)

        assert ["down"] == await feed.conditions()

    async def test_becoming_outdated_is_one(self) -> None:
        """Becoming outdated must be a transition, and last while the version is unknown."""
        feed = await Feed(None).begin()
        for outdated in (False, True, None):
            await feed.put(feed.agent(outdated=outdated))
            feed.clock.shift(60)

        found = await feed.of()

        assert found is not None
        assert [("up", True), ("up", False)] == [
            (each.condition, each.outdated) for each in found.transitions
        ]

    async def test_going_and_coming_back(self) -> None:
        """A target that is in the list no longer is gone, also under another name."""
        feed = await Feed(None).begin()
        await feed.polls(True)

        await feed.put()
        feed.clock.shift(60)
        await feed.put()
        feed.clock.shift(60)
        await feed.put(feed.agent(agent="renamed"))

        assert ["up", "gone", "up"] == await feed.conditions()

    async def test_of_other_tasks_say_nothing_of_going(self) -> None:
        """A list of recorders names no agents, and none of them is gone by that."""
        feed = await Feed(None).begin()
        await feed.polls(True)

        await feed.put(task="recorders")

        assert ["up"] == await feed.conditions()

    async def test_going_out_of_use(self) -> None:
        """An agent that was switched off is inactive, and was no outage."""
        feed = await Feed(None).begin()
        await feed.polls(True)

        await feed.put(feed.agent(up=False, active=False))

        assert ["up", "inactive"] == await feed.conditions()
        assert (1, 0) == await feed.readings()

    async def test_of_other_kinds(self) -> None:
        """Clusters, locations and suites have a history as well."""
        feed = await Feed(None).begin()
        await feed.put(
            Cluster(
                cluster_id="3",
                agent_cluster="alps",
                controller="c:1",
                state=ClusterState(read_at=feed.now, up=False),
            ),
            Location(location_id="5", location_name="cellar", read_at=feed.now, agents_up=1.0),
            Suite(suite_id="9", suite="nightly", healthy=False),
        )

        found = [
            await feed.conditions(*each)
            for each in (("3", "cluster"), ("5", "location"), ("9", "suite"))
        ]
        assert [["down"], ["up"], ["down"]] == found


class TestReadings:
    async def test_are_counted_by_the_hour(self) -> None:
        """An hour has its readings, and the least, mean and longest ping in full."""
        clock = FakeClock(unix=1000 * HOUR - 1.0)
        feed = await Feed(None, clock).begin()
        for ping, up in ((0.1, True), (0.2, True), (0.6, True), (None, False)):
            await feed.put(feed.agent(up=up, ping=ping))
            await feed.history.flush()
            clock.shift(60)

        found = await feed.of()

        assert found is not None
        assert (
            Hour(
                begin_timestamp_seconds=1000.0 * HOUR,
                readings_up=3,
                readings_down=1,
                ping_min_seconds=0.1,
                ping_mean_seconds=0.3,
                ping_max_seconds=0.6,
            ),
        ) == found.hours

    async def test_restored_ones_are_not_counted(self) -> None:
        """Restored readings must not be counted a second time."""
        feed = await Feed(None).begin()

        await feed.put(feed.agent(), restored=True)

        assert await feed.of() is None

    async def test_carried_over_ones_are_counted_once(self) -> None:
        """A state carried over from an older snapshot must count as one reading."""
        feed = await Feed(None).begin()
        read_at = feed.now
        await feed.put(feed.agent())
        feed.clock.shift(60)

        await feed.put(feed.agent(read_at=read_at))

        assert (1, 0) == await feed.readings()

    async def test_that_a_standby_is_told_anew_are_counted_once(self) -> None:
        """A state that was carried over comes each time with another guess of our own clock."""
        feed = await Feed(None).begin()
        read_at = feed.now
        for seconds in (0.0, 0.003, 0.001, 0.004):
            rebased = Moment(unix=read_at.unix, monotonic=read_at.monotonic + seconds)
            await feed.put(feed.agent(read_at=rebased))
            feed.clock.shift(60)

        assert (1, 0) == await feed.readings()

    async def test_from_before_the_start_are_not_counted(self) -> None:
        """The first poll after a restart may carry over what was read before."""
        feed = await Feed(None).begin()
        before = Moment(unix=feed.clock.unix - 30, monotonic=feed.clock.monotonic - 30)

        await feed.put(feed.agent(read_at=before))

        assert await feed.of() is None


class TestRuns:
    async def test_are_kept_once(self) -> None:
        """A finished run must be kept once, however many polls report it."""
        feed = await Feed(None).begin()
        runs = [
            SuiteRun(
                run_id=str(number),
                outcome=outcome,
                start_timestamp_seconds=feed.clock.unix - 100 + number,
                duration_seconds=number,
            )
            for number, outcome in enumerate((Outcome.FAILED, Outcome.PASSED, None))
        ]
        for _ in range(3):
            await feed.put(Suite(suite_id="3", suite="", last_run=runs[1], history=tuple(runs)))
            feed.clock.shift(60)
            await feed.history.flush()

        found = await feed.of("3", "suite")

        assert found is not None
        assert [("1", "passed", 1.0), ("0", "failed", 0.0)] == [
            (each.run_id, each.outcome, each.duration_seconds) for each in found.runs
        ]

    async def test_that_are_judged_later(self) -> None:
        """A run without data that passed after all has passed."""
        feed = await Feed(None).begin()
        for outcome in (Outcome.NO_DATA, Outcome.PASSED):
            run = SuiteRun(run_id="1", outcome=outcome, end_timestamp_seconds=feed.clock.unix)
            await feed.put(Suite(suite_id="3", suite="", last_run=run))
            await feed.history.flush()
            feed.clock.shift(60)

        found = await feed.of("3", "suite")

        assert found is not None
        assert ["passed"] == [each.outcome for each in found.runs]

    async def test_from_long_ago_are_left_out(self) -> None:
        """Runs older than the kept time must be left out."""
        feed = await Feed(None).begin()
        run = SuiteRun(
            run_id="1", outcome=Outcome.PASSED, end_timestamp_seconds=feed.clock.unix - 31 * DAY
        )

        await feed.put(Suite(suite_id="3", suite="", last_run=run))

        assert await feed.of("3", "suite") is None


class TestRestart:
    async def test_goes_on_within_the_hour(self, tmp_path: Path) -> None:
        """An hour that was begun before goes on, and no transition is written twice."""
        clock = FakeClock(unix=1000 * HOUR - 1.0)
        first = await Feed(tmp_path, clock).begin()
        await first.polls(True, False, False)
        await first.history.aclose()

        second = await Feed(tmp_path, clock).begin()
        await second.polls(False, True)

        assert ["up", "down", "up"] == await second.conditions()
        assert (2, 3) == await second.readings()
        found = await second.of()
        assert found is not None
        assert 1 == len(found.hours)
        assert 3 * 60 + 1 == found.spans[0].longest_outage_seconds

    async def test_finds_what_is_gone(self, tmp_path: Path) -> None:
        """A target that left the inventory during a restart must be recorded as gone."""
        clock = FakeClock()
        first = await Feed(tmp_path, clock).begin()
        await first.polls(True)
        await first.history.aclose()

        second = await Feed(tmp_path, clock).begin()
        await second.put()

        assert ["up", "gone"] == await second.conditions()

    async def test_after_the_clock_was_set_back(self, tmp_path: Path) -> None:
        """Readings of an hour that is there twice are counted together."""
        clock = FakeClock(unix=1000 * HOUR - 1.0)
        feed = await Feed(tmp_path, clock).begin()
        await feed.polls(True, True)
        await feed.history.flush()

        clock.unix -= 90
        await feed.polls(False)
        await feed.history.flush()

        assert ["up", "down"] == await feed.conditions()
        assert (2, 1) == await feed.readings()

    async def test_an_outage_that_began_under_a_clock_that_was_ahead(self) -> None:
        """Five hours ahead, set back after a minute; what is down for two more hours is."""
        clock = FakeClock(unix=1000.0 * HOUR)
        feed = await Feed(None, clock).begin()
        await feed.polls(True)
        clock.unix += 5 * HOUR
        await feed.polls(False)
        clock.unix -= 5 * HOUR
        await feed.polls(*([False] * 120), True)

        found = await feed.of()

        assert found is not None
        assert 7200 == found.spans[0].longest_outage_seconds
        assert "up" == found.condition


class TestTwoProcesses:
    async def test_one_writes(self, tmp_path: Path) -> None:
        """The second one shows what the first has written, and adds nothing to it."""
        clock = FakeClock()
        first = await Feed(tmp_path, clock).begin()
        second = await Feed(tmp_path, clock).begin()

        await first.polls(True)
        await second.polls(True)
        await first.history.flush()
        await second.history.flush()

        assert (Role.WRITER, Role.READER) == (first.history.role, second.history.role)
        assert (1, 0) == await second.readings()

    async def test_the_other_takes_over(self, tmp_path: Path) -> None:
        """When the writer ends the other one goes on where it was."""
        clock = FakeClock()
        first = await Feed(tmp_path, clock).begin()
        second = await Feed(tmp_path, clock).begin()
        await first.polls(True, False)
        await first.history.aclose()

        await second.history.flush()
        clock.shift(1)
        await second.polls(False)
        await second.history.flush()

        assert Role.WRITER is second.history.role
        assert ["up", "down"] == await second.conditions()
        assert (1, 2) == await second.readings()


class TestBounds:
    async def test_forty_days(self, tmp_path: Path) -> None:
        """After 40 days there are 30, and the transition in force when they began."""
        clock = FakeClock(unix=2000.0 * DAY)
        feed = await Feed(tmp_path, clock).begin()
        for day in range(40):
            for _ in range(24):
                await feed.put(feed.agent(up=day % 8 < 4))
                clock.shift(HOUR)
            await feed.history.flush()

        found = await feed.of()

        assert found is not None
        # Up on days 0 to 3, down on 4 to 7, and so on; the kept time began on day 10.
        assert [2000 + day for day in (36, 32, 28, 24, 20, 16, 12, 8)] == [
            each.timestamp_seconds // DAY for each in found.transitions
        ]
        assert 720 == len(found.hours) + 1  # the present hour has just begun
        # Nine days of ten are: 12 to 15 down, 16 to 19 up, ..., and 10 and 11 up.
        up = sum(day % 8 < 4 for day in range(10, 40)) * 24
        assert (up - 1) / 719 == found.spans[2].uptime_ratio

    async def test_the_largest_size_costs_the_oldest_day(self, tmp_path: Path) -> None:
        """A full file loses its oldest days and keeps the newest, which still can be read."""
        clock = FakeClock(unix=2000.0 * DAY)
        feed = await Feed(tmp_path, clock, max_bytes=512 * 1024).begin()
        with capture_logs() as logs:
            for _ in range(5 * 24):
                await feed.put(*(feed.agent(str(number)) for number in range(200)))
                await feed.history.flush()
                clock.shift(HOUR)

        found = await feed.of()

        assert Role.WRITER is feed.history.role
        assert place(tmp_path).file.stat().st_size <= 512 * 1024
        assert found is not None
        assert 24 <= len(found.hours) < 5 * 24
        assert clock.unix - HOUR == found.hours[-1].begin_timestamp_seconds + 1
        assert "history_full" in [each["event"] for each in logs]

    async def test_a_large_batch_costs_as_many_days_as_it_needs(self, tmp_path: Path) -> None:
        """Thirteen hundred new targets at once find room, although little was left."""
        clock = FakeClock(unix=2000.0 * DAY)
        feed = await Feed(tmp_path, clock, max_bytes=512 * 1024).begin()
        agents = range(200)
        for _ in range(60):
            await feed.put(*(feed.agent(str(number)) for number in agents))
            await feed.history.flush()
            clock.shift(HOUR)

        await feed.put(*(feed.agent(str(number)) for number in range(1_500)))
        await feed.history.flush()

        assert Role.WRITER is feed.history.role
        assert ["up"] == await feed.conditions("1499")
        found = await feed.of()
        assert found is not None
        assert 24 <= len(found.hours) < 60

    async def test_a_lower_size_holds_after_a_restart(self, tmp_path: Path) -> None:
        """Days are given up until what is used fits into it."""
        clock = FakeClock(unix=2000.0 * DAY)
        feed = await Feed(tmp_path, clock).begin()
        for _ in range(5 * 24):
            await feed.put(*(feed.agent(str(number)) for number in range(200)))
            await feed.history.flush()
            clock.shift(HOUR)
        await feed.history.aclose()

        later = await Feed(tmp_path, clock, max_bytes=384 * 1024).begin()
        for _ in range(4):
            await later.polls(True)
            await later.history.flush()

        connection = later.history._database._connection
        assert connection is not None
        assert 0 < tables.pages(connection) * 4096 <= 384 * 1024

    async def test_without_room_for_a_day(self, tmp_path: Path) -> None:
        """A disk that takes no batch at all leaves it in memory, and takes it later."""
        clock = FakeClock()
        feed = await Feed(tmp_path, clock, max_bytes=64 * 1024).begin()
        await feed.put(*(feed.agent(str(number)) for number in range(10)))
        await feed.history.flush()
        clock.shift(60)

        with capture_logs() as logs:
            await feed.put(*(feed.agent(str(number)) for number in range(2_000)))
            await feed.history.flush()

        assert ["history_in_memory"] == [each["event"] for each in logs]
        assert Role.MEMORY is feed.history.role

    async def test_a_full_disk_costs_no_day(self, tmp_path: Path) -> None:
        """A full disk must not make the history delete days."""
        clock = FakeClock(unix=2000.0 * DAY)
        feed = await Feed(tmp_path, clock).begin()
        for _ in range(48):
            await feed.polls(True, seconds=HOUR)
            await feed.history.flush()
        database = feed.history._database
        assert database.place is not None
        assert database._connection is not None
        database.place = _FullDisk(tmp_path)
        used = database._connection.execute("PRAGMA page_count").fetchone()[0]
        database._connection.execute(f"PRAGMA max_page_count = {used}")

        await feed.put(*(feed.agent(str(number)) for number in range(2_000)))
        await feed.history.flush()

        later = await Feed(tmp_path, clock).begin()
        assert Role.MEMORY is feed.history.role
        assert (48, 0) == await later.readings()

    async def test_what_is_gone_takes_no_memory(self, tmp_path: Path) -> None:
        """Agents that come and go under new ids are in the file only, after a restart as well."""
        clock = FakeClock()
        feed = await Feed(tmp_path, clock).begin()
        for number in range(100):
            await feed.put(feed.agent(f"cloud {number}"))
            await feed.history.flush()
            clock.shift(60)
        before = feed.history._recorder.known()
        await feed.history.aclose()

        later = await Feed(tmp_path, clock).begin()

        assert ["cloud 99"] == [each.key.target_id for each in before]
        assert before == later.history._recorder.known()
        assert ["up", "gone"] == await later.conditions("cloud 0")


class _FullDisk(Place):
    """A folder on a disk without any room."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="history.db", mounts=lambda: "")

    def free(self) -> int:
        return 0


class TestInMemory:
    async def test_below_a_file(self, tmp_path: Path) -> None:
        """A folder that cannot be made must be logged once, and the history be kept in memory."""
        (tmp_path / "file").write_text("")

        with capture_logs() as logs:
            feed = await Feed(tmp_path / "file" / "folder").begin()
            await feed.polls(True, False)
            await feed.history.flush()
            await feed.history.flush()

        assert ["history_in_memory"] == [each["event"] for each in logs]
        assert "history.path" in logs[0]["message"]
        assert ["up", "down"] == await feed.conditions()
        found = await feed.of()
        assert found is not None
        assert feed.clock.unix - 121 == found.in_memory_since_timestamp_seconds

    async def test_on_a_network_file_system(self, tmp_path: Path) -> None:
        """Locks do not hold there, so nothing is written to it."""
        feed = Feed(tmp_path)
        mounts = f"1 0 0:1 / {tmp_path} rw - nfs4 server:/x rw\n"
        database = feed.history._database
        assert database.place is not None
        database.place._mounts = lambda: mounts

        await feed.begin()

        assert Role.MEMORY is feed.history.role
        assert [] == entries(tmp_path)

    async def test_goes_back_to_the_file(self, tmp_path: Path) -> None:
        """Records kept in memory must be in the file once it can be used again."""
        blocker = tmp_path / "folder"
        blocker.write_text("")
        feed = await Feed(blocker).begin()
        await feed.polls(True, False)
        await feed.history.flush()
        blocker.unlink()

        feed.clock.shift(RETRY_SECONDS)
        await feed.polls(False)
        await feed.history.flush()

        assert Role.WRITER is feed.history.role
        assert ["up", "down"] == await feed.conditions()
        assert (1, 2) == await feed.readings()

    async def test_takes_little_room_on_its_way_to_the_file(self, tmp_path: Path) -> None:
        """Two days of 300 agents go back hour by hour, not as a copy of all in memory."""
        blocker = tmp_path / "folder"
        blocker.write_text("")
        feed = await Feed(blocker, FakeClock(unix=2000.0 * DAY)).begin()
        for _ in range(48):
            await feed.put(*(feed.agent(str(number)) for number in range(300)))
            await feed.history.flush()
            feed.clock.shift(HOUR)
        blocker.unlink()

        tracemalloc.start()
        await feed.history.flush()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert Role.WRITER is feed.history.role
        found = await feed.of("299")
        assert found is not None
        assert 48 == len(found.hours)
        assert peak < 1_000_000

    async def test_keeps_the_order_of_a_batch_that_was_not_written(self, tmp_path: Path) -> None:
        """Down and up again between two batches is up, although the file took neither."""
        feed = await Feed(tmp_path).begin()
        await feed.polls(True)
        await feed.history.flush()
        _refuse(feed, sqlite3.SQLITE_INSERT)

        await feed.polls(False, True)
        await feed.history.flush()

        assert Role.MEMORY is feed.history.role
        assert ["down", "up"] == await feed.conditions()

    async def test_counts_nothing_twice(self, tmp_path: Path) -> None:
        """Readings of a batch that failed must be counted once when it is written later."""
        feed = await Feed(tmp_path).begin()
        await feed.polls(True)
        _refuse(feed, sqlite3.SQLITE_DELETE)
        await feed.history.flush()
        feed.clock.shift(RETRY_SECONDS)

        await feed.polls(True)
        await feed.history.flush()

        assert Role.WRITER is feed.history.role
        assert (2, 0) == await feed.readings()

    async def test_ends_orderly_when_it_is_full(self) -> None:
        """A full disk must be logged, and not keep the history from ending."""
        feed = await Feed(None).begin()
        database = feed.history._database
        assert database._connection is not None
        database._limit(database._connection, 20)
        await feed.put(*(feed.agent(str(number)) for number in range(5_000)))

        with capture_logs() as logs:
            await feed.history.aclose()

        assert ["history_lost"] == [each["event"] for each in logs]
        assert feed.history.role is None

    def test_is_bounded(self) -> None:
        """Ten days of ten thousand targets, at 27 bytes an hour, are its largest size."""
        assert MEMORY_BYTES >= 10_000 * 24 * 10 * 27


class TestDamage:
    async def test_at_the_start(self, tmp_path: Path) -> None:
        """A damaged file must be set aside at the start, and a new one be begun."""
        place(tmp_path).file.write_bytes(b"no database" * 1000)

        with capture_logs() as logs:
            feed = await Feed(tmp_path).begin()
            await feed.polls(True)
            await feed.history.flush()

        assert ["history_set_aside"] == [each["event"] for each in logs]
        assert 1 == len(place(tmp_path).damaged())
        assert Role.WRITER is feed.history.role

    async def test_while_it_is_used(self, tmp_path: Path) -> None:
        """A new file begins with the condition each target has."""
        feed = await Feed(tmp_path).begin()
        await feed.polls(True, False)
        await feed.history.flush()
        connection = feed.history._database._connection
        assert connection is not None
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("PRAGMA shrink_memory")  # else it would not look at the file
        file = place(tmp_path).file
        file.write_bytes(b"\xff" * file.stat().st_size)

        await feed.polls(False)
        with capture_logs() as logs:
            await feed.history.flush()

        assert ["history_set_aside"] == [each["event"] for each in logs]
        assert Role.WRITER is feed.history.role
        assert ["down"] == await feed.conditions()

    async def test_a_removed_file(self, tmp_path: Path) -> None:
        """A removed file must be replaced by a new one."""
        feed = await Feed(tmp_path).begin()
        await feed.polls(True)
        await feed.history.flush()
        for path in entries(tmp_path):
            path.unlink()

        await feed.polls(False)
        await feed.history.flush()

        assert Role.WRITER is feed.history.role
        assert "down" == (await feed.conditions())[-1]
        assert place(tmp_path).file.exists()

    async def test_a_removed_file_and_a_batch_that_goes_back(self, tmp_path: Path) -> None:
        """The new file has what the batch says in its order, down and then up."""
        feed = await Feed(tmp_path).begin()
        await feed.polls(True)
        await feed.history.flush()
        for path in entries(tmp_path):
            path.unlink()

        await feed.polls(False, True)
        await feed.history.flush()

        assert ["down", "up"] == await feed.conditions()

    async def test_a_newer_version_is_left_alone(self, tmp_path: Path) -> None:
        """A file of a newer exporter is neither set aside nor changed."""
        feed = await Feed(tmp_path).begin()
        await feed.history.aclose()
        connection = place(tmp_path)
        content = bytearray(connection.file.read_bytes())
        content[60:64] = (99).to_bytes(4, "big")  # the header's user version
        connection.file.write_bytes(content)

        later = await Feed(tmp_path).begin()

        assert Role.MEMORY is later.history.role
        assert [] == place(tmp_path).damaged()
        assert bytes(content) == place(tmp_path).file.read_bytes()


class TestRunning:
    async def test_writes_every_minute(self, tmp_path: Path) -> None:
        """Readings must be written in one batch a minute, and be there for a later reader."""
        feed = Feed(tmp_path)
        running = asyncio.create_task(feed.history.run())
        await until(lambda: feed.clock.sleepers > 0)
        feed.clock.shift(1)
        await feed.put(feed.agent())

        reader = Feed(tmp_path, feed.clock)
        await reader.history.begin()
        before = await reader.of()
        await feed.clock.advance(BATCH_SECONDS)

        async def written() -> bool:
            return await reader.readings() == (1, 0)

        await until(written)
        assert before is None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await feed.history.aclose()

    async def test_the_page_does_not_wait_for_the_batch(self) -> None:
        """A reading must be in the answer before its batch is written."""
        feed = await Feed(None).begin()

        await feed.polls(True)

        assert ["up"] == await feed.conditions()
        assert (1, 0) == await feed.readings()

    async def test_knows_nothing_of_others(self) -> None:
        """A target of which nothing was read has no history."""
        feed = await Feed(None).begin()
        await feed.polls(True)

        assert await feed.of("8") is None

    async def test_keeps_no_token(self, tmp_path: Path) -> None:
        """The file must hold no other fields of a reading than those it needs."""
        feed = await Feed(tmp_path).begin()
        await feed.put(feed.agent(host="CANARY-token", location="CANARY-token"))
        await feed.history.aclose()

        for path in entries(tmp_path):
            assert b"CANARY" not in path.read_bytes()
