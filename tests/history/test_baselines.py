from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import StateError
from exporter.fleet.readings import Controller, Outcome, State, Suite, SuiteRun, Usual
from exporter.history import baselines, tables
from exporter.history.database import RETRY_SECONDS, Role
from exporter.history.history import FIRST_BATCH_SECONDS
from exporter.history.records import HOUR, TargetKey
from tests.history.feed import DAY, Feed
from tests.support.clock import FakeClock
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


#: The tables of version 1.
VERSION_1 = """
    CREATE TABLE targets (
        id INTEGER PRIMARY KEY, source TEXT NOT NULL, kind TEXT NOT NULL, target_id TEXT NOT NULL,
        task TEXT NOT NULL, hour INTEGER NOT NULL, UNIQUE (source, kind, target_id)
    );
    CREATE TABLE transitions (
        id INTEGER PRIMARY KEY, target INTEGER NOT NULL, at REAL NOT NULL, condition TEXT NOT NULL,
        outdated INTEGER NOT NULL, reason TEXT NOT NULL, UNIQUE (target, at, condition, outdated)
    );
    CREATE TABLE hours (
        hour INTEGER NOT NULL, target INTEGER NOT NULL, up INTEGER NOT NULL, down INTEGER NOT NULL,
        inactive INTEGER NOT NULL, pings INTEGER NOT NULL, ping_sum INTEGER NOT NULL,
        ping_min INTEGER, ping_max INTEGER, PRIMARY KEY (hour, target)
    ) WITHOUT ROWID;
    CREATE TABLE runs (
        target INTEGER NOT NULL, run_id TEXT NOT NULL, at REAL NOT NULL, outcome TEXT NOT NULL,
        start REAL, end REAL, duration REAL, PRIMARY KEY (target, run_id)
    ) WITHOUT ROWID;
    PRAGMA application_id = 0x4C464548;
    PRAGMA user_version = 1;
    INSERT INTO targets VALUES (1, 'prod', 'suite', '3', 'suites', 0);
"""


def make_version_1(folder: Path, *durations: float) -> None:
    """Write a file as version 1 did, with a passed run each hour."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / "history.db")) as connection, connection:
        connection.executescript(VERSION_1)
        for number, seconds in enumerate(durations):
            at = FakeClock().unix - 10 * DAY + number * HOUR
            connection.execute(
                "INSERT INTO runs VALUES (1, ?, ?, 'passed', ?, ?, ?)",
                (str(number), at, at - seconds, at, seconds),
            )


def make_agents(folder: Path, count: int, hours: int, unix: float) -> None:
    """Write a file of agents whose pings took as many milliseconds as their number says."""
    with closing(sqlite3.connect(folder / "history.db", isolation_level=None)) as connection:
        tables.prepare(connection)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO targets VALUES (?, 'prod', 'agent', ?, 'agents', 0)",
            ((number, str(number)) for number in range(1, count + 1)),
        )
        connection.executemany(
            "INSERT INTO hours SELECT ?, id, 60, 0, 0, 60, 600 * id, 0, 0 FROM targets",
            ((int(unix) // HOUR - back,) for back in range(1, hours + 1)),
        )
        connection.execute("COMMIT")


class TestOfSuites:
    async def test_is_the_median_without_the_newest_run(self) -> None:
        """A run is compared with those before it."""
        feed = await Feed(None).begin()

        await feed.runs(50, 10, 40, 20, 30, 1000)

        assert Usual(runs=5, duration_seconds=30.0) == feed.usual()

    async def test_of_an_even_number_is_between_the_two_in_the_middle(self) -> None:
        """No run of them need have taken so long."""
        feed = await Feed(None).begin()

        await feed.runs(10, 20, 30, 40, 50, 60, 1000)

        assert Usual(runs=6, duration_seconds=35.0) == feed.usual()

    async def test_nothing_is_said_of_too_few(self) -> None:
        """Four runs and the newest one are no usage."""
        feed = await Feed(None).begin()

        await feed.runs(10, 20, 30, 40, 50)

        assert feed.history.usual("prod") is not None
        assert feed.usual() is None

    @pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.PASSED])
    async def test_runs_that_did_not_pass_do_not_count(self, outcome: Outcome) -> None:
        """Runs that failed or were aborted must not change a suite's usual duration."""
        feed = await Feed(None).begin()
        await feed.runs(10, 20, 30, 40, 50)

        await feed.runs(1, 1, 1, 1, 1, outcome=outcome)

        assert Usual(runs=5, duration_seconds=30.0) == feed.usual()

    async def test_the_newest_twenty_count(self) -> None:
        """Only the newest twenty runs must count."""
        feed = await Feed(None).begin()

        await feed.runs(*(1.0,) * 100, *(float(each) for each in range(1, 21)), 1000.0)

        assert Usual(runs=20, duration_seconds=10.5) == feed.usual()

    async def test_what_is_not_kept_any_more_does_not_count(self) -> None:
        """Runs older than the kept time must not count."""
        feed = await Feed(None).begin()
        await feed.runs(10, 20, 30, 40, 50)
        feed.clock.shift(30 * DAY)

        await feed.runs(60)

        assert feed.usual() is None

    async def test_errors_and_boots_are_counted_by_themselves(self) -> None:
        """The duration, the errors and the boot time must each have runs enough of their own."""
        feed = await Feed(None).begin()
        samples = {"passed": 75.0, "failed": 25.0}

        await feed.runs(10, samples=samples)
        await feed.runs(10, 10, 10, 10, samples=samples, boot_seconds=7.0)
        await feed.runs(1000, samples={"passed": 1.0, "failed": 1.0})

        assert Usual(runs=5, duration_seconds=10.0, error_ratio=0.25) == feed.usual()

    async def test_of_what_is_known_later(self) -> None:
        """Errors and boot time must count, even if reported after the run's end and only once."""
        feed = await Feed(None).begin()
        known: dict[str, Any] = {"sessions": {"passed": 9.0, "failed": 1.0}, "boot_seconds": 7.0}
        for number in range(6):
            await feed.runs(10.0, run_id=str(number))
            await feed.runs(10.0, run_id=str(number), **known)
            await feed.runs(10.0, run_id=str(number))

        assert (
            Usual(runs=5, duration_seconds=10.0, error_ratio=0.1, boot_seconds=7.0) == feed.usual()
        )

    async def test_other_suites_keep_theirs(self) -> None:
        """New runs of a suite must change the baseline of that suite only."""
        feed = await Feed(None).begin()
        await feed.runs(10, 20, 30, 40, 50, 60)
        await feed.history.flush()

        with closing(sqlite3.connect(":memory:")) as connection:
            tables.prepare(connection)
            known = feed.history._baselines
            known.renew(connection, [TargetKey("prod", "suite", "4")])

        assert Usual(runs=5, duration_seconds=30.0) == feed.usual()


class TestOfAgents:
    async def hours(self, feed: Feed, *pings: float | None) -> None:
        """Publish two pings of an agent in each hour, then write and compare."""
        for seconds in pings:
            for share in (0.5, 1.5):
                ping = None if seconds is None else seconds * share
                await feed.put(
                    feed.agent(ping=ping),
                    Controller(
                        controller="7",
                        state=State(read_at=feed.now, up=True, ping_duration_seconds=9.0),
                    ),
                )
                feed.clock.shift(HOUR / 2)
        await feed.history.flush()
        await feed.history.compare()

    async def ping(self, feed: Feed) -> float | None:
        found = feed.history.usual("prod")
        assert found is not None
        return found.pings.get("7")

    async def test_is_the_median_of_the_hourly_means(self) -> None:
        """An hour counts once, however often it was asked."""
        feed = await Feed(None, FakeClock(unix=1000.0 * HOUR)).begin()

        await self.hours(feed, *[0.1] * 12, 0.2, *[0.4] * 12)

        assert 0.2 == await self.ping(feed)

    async def test_nothing_is_said_of_less_than_a_day(self) -> None:
        """Hours without pings do not count, and the present one does not."""
        feed = await Feed(None, FakeClock(unix=1000.0 * HOUR)).begin()
        for _ in range(23):
            await feed.polls(True, seconds=HOUR)
        await feed.put(feed.agent(ping=None))
        feed.clock.shift(HOUR)
        await feed.put(feed.agent())

        await self.hours(feed)

        assert await self.ping(feed) is None

    async def test_the_newest_seven_days_count(self) -> None:
        """Only the newest seven days must count."""
        feed = await Feed(None, FakeClock(unix=1000.0 * HOUR)).begin()

        await self.hours(feed, *[9.0] * 200, *[0.1] * 84, *[0.3] * 84)

        assert 0.2 == await self.ping(feed)


class TestComputing:
    async def test_ten_thousand_agents_hold_up_nobody(self, tmp_path: Path) -> None:
        """A comparison of 10,000 agents must let other requests for histories through."""
        clock = FakeClock()
        make_agents(tmp_path, 10_000, 24, clock.unix)
        feed = await Feed(tmp_path, clock).begin()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await feed.of("10000", "agent")
                turns += 1

        asking = asyncio.create_task(others())
        await feed.history.compare()
        asking.cancel()

        found = feed.history.usual("prod")
        assert found is not None
        assert 10_000 == len(found.pings)
        assert 1.234 == found.pings["1234"]
        assert turns >= 10_000 // baselines.SLICE

    async def test_is_known_once_the_first_polls_are_written(self) -> None:
        """The baselines must be known after the first polls, which may report earlier runs."""
        feed = Feed(None)
        running = asyncio.create_task(feed.history.run())
        await until(lambda: feed.clock.sleepers > 0)
        feed.clock.shift(1)
        runs = [
            SuiteRun(
                run_id=str(number),
                outcome=Outcome.PASSED,
                start_timestamp_seconds=feed.clock.unix - number * HOUR,
                duration_seconds=60.0,
            )
            for number in range(1, 7)
        ]
        await feed.put(Suite(suite_id="3", suite="", last_run=runs[0], history=tuple(runs)))
        before = feed.history.usual("prod")

        await feed.clock.advance(FIRST_BATCH_SECONDS)
        await until(lambda: feed.history.usual("prod") is not None)

        assert before is None
        assert Usual(runs=5, duration_seconds=60.0) == feed.usual()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await feed.history.aclose()

    async def test_is_done_once_an_hour(self) -> None:
        """Pings that came meanwhile count from the next hour on."""
        feed = await Feed(None, FakeClock(unix=1000.0 * HOUR)).begin()
        await feed.history.compare()
        for _ in range(24):
            await feed.polls(True, seconds=HOUR)
        feed.history._compared = int(feed.clock.unix) // HOUR
        await feed.history.flush()
        await feed.history.compare()
        before = feed.history.usual("prod")

        feed.clock.shift(HOUR)
        await feed.history.compare()

        after = feed.history.usual("prod")
        assert before is not None
        assert after is not None
        assert [{}, {"7": 0.125}] == [before.pings, after.pings]

    async def test_is_known_after_a_restart(self, tmp_path: Path) -> None:
        """The baselines must be known after a restart, from the file alone."""
        clock = FakeClock()
        first = await Feed(tmp_path, clock).begin()
        await first.runs(10, 20, 30, 40, 50, 60)
        await first.history.aclose()

        second = await Feed(tmp_path, clock).begin()
        before = second.usual()
        await second.history.compare()

        assert before is None
        assert Usual(runs=5, duration_seconds=30.0) == second.usual()

    async def test_a_second_process_reads_what_the_first_one_writes(self, tmp_path: Path) -> None:
        """A process that only reads must know the baselines, and write once it is the writer."""
        clock = FakeClock()
        first = await Feed(tmp_path, clock).begin()
        await first.runs(10, 20, 30, 40, 50, 60)
        second = await Feed(tmp_path, clock).begin()
        await second.history.compare()
        reader = second.history.role, second.usual()
        await first.runs(70, apart=60)
        await first.history.aclose()

        await second.history.flush()
        await second.history.compare()

        assert (Role.READER, Usual(runs=5, duration_seconds=30.0)) == reader
        assert Role.WRITER is second.history.role
        assert Usual(runs=6, duration_seconds=35.0) == second.usual()

    async def test_a_file_that_cannot_be_used_says_nothing(self, tmp_path: Path) -> None:
        """While the file cannot be used no baseline is known; then the earlier runs count again."""
        blocker = tmp_path / "folder"
        blocker.write_text("")
        feed = await Feed(blocker).begin()
        await feed.runs(10, 20, 30, 40, 50, 60)
        assert feed.history.usual("prod") is None
        blocker.unlink()

        feed.clock.shift(RETRY_SECONDS)
        await feed.runs(70)

        assert Usual(runs=6, duration_seconds=35.0) == feed.usual()

    async def test_a_file_that_breaks_costs_nothing_but_news(self, tmp_path: Path) -> None:
        """A broken file must keep the known baselines, and not crash the history."""
        feed = await Feed(tmp_path).begin()
        await feed.runs(10, 20, 30, 40, 50, 60)
        connection = feed.history._database._connection
        assert connection is not None
        connection.execute("ALTER TABLE hours RENAME TO lost")
        feed.clock.shift(HOUR)

        with capture_logs() as logs:
            await feed.history._compare()
        broken = feed.usual()
        connection.execute("ALTER TABLE lost RENAME TO hours")
        connection.execute("UPDATE runs SET duration = 2 * duration")
        await feed.history._compare()

        assert ["baselines_not_computed"] == [each["event"] for each in logs]
        assert [30.0, 60.0] == [each.duration_seconds for each in (broken, feed.usual()) if each]


class TestVersions:
    async def test_a_file_of_version_1_is_migrated(self, tmp_path: Path) -> None:
        """A file of version 1 must be migrated, and its runs count."""
        make_version_1(tmp_path, 10, 20, 30, 40, 50, 60)

        feed = await Feed(tmp_path).begin()
        await feed.history.compare()
        before = feed.usual()
        await feed.runs(*(70.0,) * 6, boot_seconds=5.0)

        assert Usual(runs=5, duration_seconds=30.0) == before
        assert Usual(runs=11, duration_seconds=60.0, boot_seconds=5.0) == feed.usual()
        await feed.history.aclose()
        with closing(sqlite3.connect(tmp_path / "history.db")) as connection:
            assert (2,) == connection.execute("PRAGMA user_version").fetchone()

    async def test_beside_a_process_of_version_1(self, tmp_path: Path) -> None:
        """A file of version 1 must be read, and not changed while its process writes."""
        make_version_1(tmp_path, 10, 20, 30, 40, 50, 60)
        feed = Feed(tmp_path)
        assert feed.history._database.place is not None

        with feed.history._database.place.held() as held:
            await feed.begin()
            with pytest.raises(StateError):
                await feed.history.compare()
            found = await feed.of("3", "suite")

        assert held
        assert feed.history.usual("prod") is None
        assert found is not None
        assert 6 == len(found.runs)
