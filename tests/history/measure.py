"""Measure the history's file and what it costs to feed: `python -m tests.history.measure`.

    python -m tests.history.measure [TARGETS] [DAYS]

Days of readings, one a minute of each target, are written as two batches an hour: the first minute
and the rest, since rows grow within their hour. Each hour one target in a hundred goes down for a
while. Then one snapshot of all targets is counted and written as the daemon does it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from random import Random

from exporter.history import tables
from exporter.history.baselines import Baselines
from exporter.history.database import Database
from exporter.history.records import HOUR, Batch, Condition, Tally, TargetKey, Transition
from tests.history.feed import KEEP, Feed, place
from tests.support.clock import FakeClock


UNIX = 500_000.0 * HOUR

MINUTES = 60


def main(targets: str = "10000", days: str = "30") -> None:
    count = int(targets)
    with tempfile.TemporaryDirectory() as folder:
        _measure_file(Path(folder), count, int(days))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure_feeding(Path(folder), count))


def _measure_file(folder: Path, count: int, days: int) -> None:
    chance = Random(15)  # noqa: S311 - repeatable, not secret
    keys = [TargetKey("prod", "agent", f"agent-{number:05}") for number in range(count)]
    pings = [chance.uniform(0.01, 0.25) for _ in keys]
    now = UNIX
    database = Database(place(folder), keep_seconds=KEEP, max_bytes=2**30, time=lambda: now)
    database.open()
    seconds = 0.0
    for hour in range(days * 24):
        for first, last in ((0, 1), (1, MINUTES)):
            now = UNIX + hour * HOUR + last * 60
            batch = Batch()
            for key, ping in zip(keys, pings, strict=True):
                batch.tasks[key] = "agents"
                tally = batch.tallies[int(UNIX) // HOUR + hour, key] = Tally()
                down = chance.random() < 0.01 and last > 1
                for minute in range(first, last, 6 if last > 1 else 1):
                    up = not down or minute > 20
                    condition = Condition.UP if up else Condition.DOWN
                    tally.add(condition, ping * chance.uniform(0.8, 1.5) if up else None)
                if last > 1:  # the readings between those that were drawn
                    tally.up, tally.down = tally.up * 6 - 1, tally.down * 6
                    tally.pings, tally.ping_sum = tally.pings * 6 - 1, tally.ping_sum * 6
                changes = [("up", 0)] if hour == 0 and last == 1 else []
                changes += [("down", 1), ("up", 20)] if down else []
                for condition_word, minute in changes:
                    transition = Transition(
                        timestamp_seconds=UNIX + hour * HOUR + minute * 60,
                        condition=Condition(condition_word),
                        reason="not_reachable" if condition_word == "down" else "",
                    )
                    batch.transitions.append((key, transition))
            began = time.perf_counter()
            database.write(batch)
            seconds += time.perf_counter() - began
    began = time.perf_counter()
    database.read(keys[count // 2], hours=range(int(now) // HOUR - 719, int(now) // HOUR + 1))
    took = time.perf_counter() - began
    baselines = Baselines(time=lambda: now + HOUR)
    slices: list[float] = []
    after: int | None = 0
    while after is not None:
        began = time.perf_counter()
        after = database.using(partial(baselines.learn, after=after))
        slices.append(time.perf_counter() - began)
    connection = database._connection
    assert connection is not None
    rows = tables.rows(connection)
    database.close()
    print(f"{count} targets, {days} days: {place(folder).file.stat().st_size:,} bytes, {rows}")  # noqa: T201 - it tells
    print(f"a batch: {seconds / days / 48 * 1e3:.0f} ms; reading a target: {took * 1e3:.1f} ms")  # noqa: T201 - likewise
    print(f"what is usual: {sum(slices):.1f} s, at most {max(slices) * 1e3:.0f} ms at a time")  # noqa: T201 - likewise
    began = time.perf_counter()
    database.open()
    print(f"opening it again: {time.perf_counter() - began:.2f} s")  # noqa: T201 - likewise
    database.close()


async def _measure_feeding(folder: Path, count: int) -> None:
    feed = await Feed(folder, FakeClock()).begin()
    for name in ("first", "next", "next"):
        agents = [feed.agent(str(number)) for number in range(count)]
        began, used = time.perf_counter(), time.process_time()
        await feed.put(*agents)
        counted = time.process_time() - used
        await feed.history.flush()
        print(  # noqa: T201 - likewise
            f"{name} snapshot: {counted * 1e3:.0f} ms of CPU to count,"
            f" {(time.process_time() - used - counted) * 1e3:.0f} ms to write it in its thread;"
            f" {(time.perf_counter() - began) * 1e3:.0f} ms in all"
        )
        feed.clock.shift(60)
    await feed.history.aclose()


if __name__ == "__main__":
    main(*sys.argv[1:])
