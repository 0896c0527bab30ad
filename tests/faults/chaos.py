"""Ten minutes of random disturbances around the exporter, and the checks that must hold.

    python -m tests.faults.chaos [--seconds N] [--seed S] [--pair]

Vendors die, fail, stutter and change their credentials; the configuration is edited and broken;
agents go down; the Alertmanager is away now and then. Simulated time is sixty times as fast as real
time, and polls follow each other by a second. Three clients, and Prometheus if it is installed,
scrape all the time. No target may be shown as down that is not, no series may be missing or occur
twice, neither memory nor descriptors may grow, no vendor may lock the exporter out, and each agent
that goes down must cause one alert.

With `--pair` there are two exporters with a Redis, which are killed, stopped and started again as
well, and whose store is emptied and filled. Both must show the same, and send the calls of one.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from exporter.conformance.front import Front
from tests.faults.exporters import Exporter
from tests.faults.havoc import ALERT, Havoc
from tests.faults.pair import Pair
from tests.faults.receiver import Receiver
from tests.faults.watch import STALL_SECONDS, Watch, is_quiet
from tests.faults.world import ALONE, INTERVAL_SECONDS, PAIR, Vendors
from tests.support.processes import fetch
from tests.support.prometheus import Prometheus, prometheus, scraping
from tests.support.redis import RedisServer
from tests.support.wait import until


DEFAULT_SECONDS = 600.0

#: The three scraping clients: the headers, and whether the connection is kept.
CLIENTS: tuple[tuple[Mapping[str, str], bool], ...] = (
    ({}, True),
    ({"Accept-Encoding": "gzip"}, False),
    ({"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}, True),
)

SCRAPE_SECONDS = 0.4

#: Longer than an exporter ever stays dead.
NEVER_SECONDS = 3600.0

#: The interval of checks whether this process, and so the vendors, stood still.
BEAT_SECONDS = 0.1

#: The longest time until a leader takes its lease again after the store lost it.
LED_SECONDS = 20.0

#: The shortest run with time for disturbances that take a minute to recover from.
LONG_SECONDS = 120.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a chaos run.

    Attributes:
        wrong: The failed checks, in words.
        done: The number of disturbances of each kind.
        pages: The number of checked pages.
        told: The number of notifications about agents.
        stalls: The number of noticed stalls.
        compared: The number of comparisons of a pair's pages.
    """

    wrong: tuple[str, ...]
    done: Mapping[str, int]
    pages: int
    told: int
    stalls: int
    compared: int


async def run(folder: Path, *, seconds: float, seed: int, paired: bool = False) -> Report:
    """Run it.

    Args:
        folder: Where configuration, secrets and logs go.
        seconds: The time of disturbances, before the time to recover.
        seed: Equal seeds upset it in the same way, as far as the machine's pace allows.
        paired: Whether there are two exporters on a Redis.
    """
    receiver = Receiver()
    long = seconds >= LONG_SECONDS
    async with AsyncExitStack() as stack:
        vendors = await stack.enter_async_context(Vendors(folder, seed, PAIR if paired else ALONE))
        receiving = await stack.enter_async_context(Front(receiver.app()))
        watch = Watch(vendors)
        server = await _redis(stack, folder) if paired else None
        havoc = Havoc(
            vendors,
            receiver,
            receiving,
            watch,
            file=folder / "loadfleet.yml",
            state={"url": server.url()} if server else {"path": str(folder / "state")},
            chance=Random(seed),  # noqa: S311 - repeatable, not secret
            overlap=0.5 if long else 0.0,
            rest=12.0 if long and paired else 0.8,
        )
        havoc.exporters = _exporters(stack, havoc.write(), watch, number=2 if paired else 1)
        await havoc.exporters[0].start()
        asked = None if paired else await _prometheus(stack, folder, havoc.exporters[0].url)
        if server is not None:
            havoc.pair = Pair(
                vendors,
                exporters=havoc.exporters,
                server=server,
                watch=watch,
                chance=Random(seed + 1),  # noqa: S311 - repeatable, not secret
                long=long,
            )
        await _live(vendors, havoc, watch, seconds)
        await _judge_prometheus(asked, watch)
        _judge(vendors, receiver, havoc, watch)
        for exporter in havoc.exporters:
            await exporter.end()
    return Report(
        wrong=tuple(watch.wrong),
        done=havoc.done | (havoc.pair.done if havoc.pair else {}),
        pages=sum(exporter.watch.pages for exporter in havoc.exporters),
        told=len([page for page in receiver.pages if page.alertname == ALERT]),
        stalls=len(watch.stalls),
        compared=havoc.pair.compared if havoc.pair else 0,
    )


async def _redis(stack: AsyncExitStack, folder: Path) -> RedisServer:
    server = RedisServer("redis-server", folder / "redis", "--appendonly", "yes")
    stack.callback(server.stop)
    await server.begin()
    return server


def _exporters(
    stack: AsyncExitStack, file: Path, watch: Watch, *, number: int
) -> tuple[Exporter, ...]:
    watches = (watch, *(watch.beside() for _ in range(number - 1)))
    exporters = tuple(
        Exporter(f"exporter-{ordinal}", file, each) for ordinal, each in enumerate(watches, 1)
    )
    for exporter in exporters:
        stack.push_async_callback(exporter.aclose)
    return exporters


async def _live(vendors: Vendors, havoc: Havoc, watch: Watch, seconds: float) -> None:
    """Check all the time, disturb everything for a while, and wait until all is well again."""
    exporters, pair, long = havoc.exporters, havoc.pair, seconds >= LONG_SECONDS
    # Each process of a pair is scraped by one client only, so that this process keeps up.
    clients = [
        (exporter, *client)
        for exporter, some in zip(exporters, (CLIENTS[:1], CLIENTS[1:2]), strict=False)
        for client in (some if pair else CLIENTS)
    ]
    background = [asyncio.create_task(_scrape(*each, pair)) for each in clients]
    background += [asyncio.create_task(exporter.measure()) for exporter in exporters]
    background.append(asyncio.create_task(_beat(watch)))
    try:
        await _until_quiet(vendors, background)
        if pair is not None:
            pair.begin()
            await asyncio.gather(*(exporter.start() for exporter in exporters[1:]))
            background.append(asyncio.create_task(pair.compare()))
        await _upset(havoc, seconds)
        if pair is None or long:
            await _until_quiet(vendors, background)
        if pair is not None:
            await _until_back(pair, PAIR.recovery_seconds if long else LED_SECONDS)
            pair.judge()
        for task in background:
            if task.done():
                task.result()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


async def _upset(havoc: Havoc, seconds: float) -> None:
    """Upset everything at once for a time."""
    end = time.monotonic() + seconds
    pair, long = havoc.pair, seconds >= LONG_SECONDS
    works = [havoc.upset(end), havoc.hunt(end)]
    if pair is not None:
        kinds = (*pair.of_exporters, *pair.of_store) if long else pair.of_exporters
        works.append(pair.upset(kinds, end))
    await asyncio.gather(*works)
    if pair is not None and not long:
        # Last, since an exporter that has lost its store sends nothing for a minute.
        await pair.until_compared()
        await pair.upset(pair.of_store, end)


async def _until_back(pair: Pair, seconds: float) -> None:
    """Wait until each source has its leader, within the limit; `judge` reports failures."""
    with suppress(TimeoutError):
        await until(lambda: pair.is_back, timeout_seconds=seconds)


async def _prometheus(stack: AsyncExitStack, folder: Path, url: str) -> Prometheus | None:
    if shutil.which("prometheus") is None:
        return None
    # A scrape may take as long as the interval, which is longer than a busy machine stalls.
    configuration = scraping(url.removeprefix("http://"), interval="5s")
    return await stack.enter_async_context(prometheus(folder, configuration))


async def _until_quiet(vendors: Vendors, background: list[asyncio.Task[None]]) -> None:
    """Wait until all sources are well, within the limit; the watch reports failures."""
    limit = time.monotonic() + vendors.terms.recovery_seconds + 10
    while time.monotonic() < limit:
        if all(is_quiet(source) for source in vendors.sources.values()):
            return
        for task in background:
            if task.done():
                task.result()
        await asyncio.sleep(0.1)


async def _beat(watch: Watch) -> None:
    """Notice when this process stands still."""
    while True:
        due_at = time.monotonic() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        if time.monotonic() - due_at > STALL_SECONDS:
            watch.stood_still(time.monotonic())


async def _scrape(
    exporter: Exporter, headers: Mapping[str, str], keep: bool, pair: Pair | None
) -> None:
    """Scrape for ever, over one connection or over a new one each time."""
    host, _, port = exporter.url.removeprefix("http://").partition(":")
    fields = {"Host": "exporter", **headers, **({} if keep else {"Connection": "close"})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"GET /metrics HTTP/1.1\r\n{lines}\r\n".encode()
    while True:
        await until(lambda: exporter.since is not None, timeout_seconds=NEVER_SECONDS)
        since = exporter.since
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                await _scrape_on(exporter, pair, reader, writer, request, again=keep)
            finally:
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError) as error:
            if exporter.since == since:
                exporter.watch.accuse(f"{exporter.name} does not answer: {error!r}")
                await asyncio.sleep(SCRAPE_SECONDS)


async def _scrape_on(
    exporter: Exporter,
    pair: Pair | None,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request: bytes,
    *,
    again: bool,
) -> None:
    watch = exporter.watch
    while True:
        asked_at, since = time.monotonic(), exporter.since
        writer.write(request)
        status, body = await _answer(reader)
        if exporter.since == since:
            if time.monotonic() - asked_at > STALL_SECONDS:
                watch.stood_still(time.monotonic())
            series = watch.look(status, body, asked_at=asked_at)
            if pair is not None:
                pair.see(exporter, series, asked_at=asked_at)
        await asyncio.sleep(SCRAPE_SECONDS)
        if not again:
            return


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    size = int(head.partition("content-length: ")[2].split()[0])
    body = await reader.readexactly(size)
    if "content-encoding: gzip" in head:
        body = gzip.decompress(body)
    return int(head.split()[1]), body


async def _judge_prometheus(asked: Prometheus | None, watch: Watch) -> None:
    """Check the series in Prometheus."""
    if asked is None:
        return
    worst = await asked.values('min_over_time(up{job="loadfleet"}[1h])')
    if worst != [1.0]:
        watch.accuse(f"Prometheus could not always scrape: {worst}")
    own = await fetch(f"{asked.url}/metrics")
    for line in own.splitlines():
        name, _, value = line.rpartition(" ")
        bad = ("duplicate_timestamp_total", "out_of_order_total", "out_of_bounds_total")
        of_samples = name.startswith("prometheus_target_scrapes_sample_")
        if of_samples and name.endswith(bad) and float(value):
            watch.accuse(f"Prometheus counts {line}")


def _judge(vendors: Vendors, receiver: Receiver, havoc: Havoc, watch: Watch) -> None:
    """Run the checks that need the whole run."""
    for source in vendors.sources.values():
        if not any(exporter.watch.has_all(source) for exporter in havoc.exporters):
            watch.accuse(f"{source.name}: nobody has shown all of it")
    for source in vendors.all:
        if source.portal.blocked_calls:
            watch.accuse(f"{source.name} has locked us out")
        if source.most_refusals() > 4:
            watch.accuse(f"{source.name}: {source.most_refusals()} calls were refused in a minute")
        if source.portal.violations:
            watch.accuse(f"{source.name}: we asked for {source.portal.violations[0]}")
    steady = {
        (source.name, target.id)
        for source in vendors.sources.values()
        for target in source.steady()
    }
    for page in receiver.pages:
        about = (page.source, page.target)
        told_at = page.at - time.time() + time.monotonic()
        # The stall may have been noticed a moment after the alert was sent.
        stalled = watch.feels_stall(told_at, told_at + INTERVAL_SECONDS)
        # Only firing is an error here: an end implies an earlier firing.
        wrong = page.state == "firing" and about in steady - havoc.victims
        if page.alertname == ALERT and wrong and not stalled:
            watch.accuse(f"somebody was told of {about}, which was never down")
        if page.state == "expired":
            watch.accuse(f"the exporter fell silent about {about}")


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--pair", action="store_true", help="two exporters on a Redis")
    arguments: Any = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    say = sys.stdout.write
    say(f"seed {arguments.seed}, files in {folder}\n")
    report = asyncio.run(
        run(folder, seconds=arguments.seconds, seed=arguments.seed, paired=arguments.pair)
    )
    say(f"{report.pages} pages looked at; of agents was told {report.told} times\n")
    say(f"something stood still {report.stalls} times\n")
    say(f"the pages of a pair were compared {report.compared} times\n")
    say("done: " + ", ".join(f"{name} {count}" for name, count in sorted(report.done.items())))
    say("".join(f"\nWRONG: {text}" for text in report.wrong) or "\nnothing was wrong")
    say("\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
