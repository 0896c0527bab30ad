"""Ten minutes in which nothing around the exporter stays as it is, and what must hold of it.

    python -m tests.faults.chaos [--seconds N] [--seed S]

Vendors die, fail, stutter and change their credentials; the configuration is edited and broken;
agents go down; the Alertmanager is away now and then. Life passes sixty times as fast as it
does, and polls follow each other by a second. Three clients, and Prometheus where it is
installed, scrape all along. Nobody may be accused wrongly, no series may be missing or be there
twice, neither memory nor descriptors may grow, no vendor may lock the exporter out, and of each
agent that goes down somebody has to hear, once.
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
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tests.faults.havoc import ALERT, Havoc
from tests.faults.receiver import Receiver
from tests.faults.watch import RECOVERY_SECONDS, STALL_SECONDS, Growth, Watch, is_quiet
from tests.faults.world import INTERVAL_SECONDS, Vendors
from tests.support.front import Front
from tests.support.processes import Process, daemon, fetch
from tests.support.prometheus import Prometheus, prometheus, scraping


DEFAULT_SECONDS = 600.0

#: How the three clients scrape: the headers they send, and whether they keep their connection.
CLIENTS: tuple[tuple[Mapping[str, str], bool], ...] = (
    ({}, True),
    ({"Accept-Encoding": "gzip"}, False),
    ({"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}, True),
)

SCRAPE_SECONDS = 0.4

#: How often is looked whether this process, and so the vendors, stood still.
BEAT_SECONDS = 0.1

#: From here on a run has the time for what takes a minute to recover from.
LONG_SECONDS = 120.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How it went.

    Attributes:
        wrong: What did not hold, in words.
        done: How often each thing was done to the world.
        pages: How many pages were looked at.
        told: How often somebody was told something of an agent.
        stalls: How often something was noticed to have stood still.
    """

    wrong: tuple[str, ...]
    done: Mapping[str, int]
    pages: int
    told: int
    stalls: int


async def run(folder: Path, *, seconds: float, seed: int) -> Report:
    """Run it.

    Args:
        folder: Where configuration, secrets and logs go.
        seconds: How long the world is upset; then it gets time to recover.
        seed: Equal seeds upset it in the same way, as far as the machine's pace allows.
    """
    receiver = Receiver()
    async with AsyncExitStack() as stack:
        vendors = await stack.enter_async_context(Vendors(folder, seed))
        receiving = await stack.enter_async_context(Front(receiver.app()))
        watch = Watch(vendors)
        havoc = Havoc(
            vendors,
            receiver,
            receiving,
            watch,
            file=folder / "loadfleet.yml",
            chance=Random(seed),  # noqa: S311 - repeatable, not secret
            overlap=0.5 if seconds >= LONG_SECONDS else 0.0,
        )
        havoc.url, process = await stack.enter_async_context(
            daemon(folder, havoc.configuration(), "--web.enable-lifecycle")
        )
        asked = await _prometheus(stack, folder, havoc.url)
        growth = Growth(process.process.pid)
        background = [asyncio.create_task(_scrape(havoc.url, watch, *client)) for client in CLIENTS]
        background.append(asyncio.create_task(_measure(growth)))
        background.append(asyncio.create_task(_beat(watch)))
        try:
            await _until_quiet(vendors, background)
            end = time.monotonic() + seconds
            await asyncio.gather(havoc.upset(end), havoc.hunt(end))
            await _until_quiet(vendors, background)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
        await _judge_prometheus(asked, watch)
        _judge(vendors, receiver, havoc, watch, growth)
        await _judge_process(process, watch)
    return Report(
        wrong=tuple(watch.wrong),
        done=havoc.done,
        pages=watch.pages,
        told=len([page for page in receiver.pages if page.alertname == ALERT]),
        stalls=len(watch.stalls),
    )


async def _prometheus(stack: AsyncExitStack, folder: Path, url: str) -> Prometheus | None:
    if shutil.which("prometheus") is None:
        return None
    # A scrape may take as long as the interval: longer than a busy machine stands still.
    configuration = scraping(url.removeprefix("http://"), interval="5s")
    return await stack.enter_async_context(prometheus(folder, configuration))


async def _until_quiet(vendors: Vendors, background: list[asyncio.Task[None]]) -> None:
    """Wait until all sources are well, no longer than it may take; the watch tells who is not."""
    limit = time.monotonic() + RECOVERY_SECONDS + 10
    while time.monotonic() < limit:
        if all(is_quiet(source) for source in vendors.sources.values()):
            return
        for task in background:
            if task.done():
                task.result()
        await asyncio.sleep(0.1)


async def _measure(growth: Growth) -> None:
    while True:
        growth.sample()
        await asyncio.sleep(0.5)


async def _beat(watch: Watch) -> None:
    """Notice when this process stands still."""
    while True:
        due_at = time.monotonic() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        if time.monotonic() - due_at > STALL_SECONDS:
            watch.stood_still(time.monotonic())


async def _scrape(url: str, watch: Watch, headers: Mapping[str, str], keep: bool) -> None:
    """Scrape for ever, over one connection or over a new one each time."""
    host, _, port = url.removeprefix("http://").partition(":")
    fields = {"Host": "exporter", **headers, **({} if keep else {"Connection": "close"})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"GET /metrics HTTP/1.1\r\n{lines}\r\n".encode()
    while True:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            while True:
                asked_at = time.monotonic()
                writer.write(request)
                status, body = await _answer(reader)
                if time.monotonic() - asked_at > STALL_SECONDS:
                    watch.stood_still(time.monotonic())
                watch.look(status, body, asked_at=asked_at)
                await asyncio.sleep(SCRAPE_SECONDS)
                if not keep:
                    break
        finally:
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    size = int(head.partition("content-length: ")[2].split()[0])
    body = await reader.readexactly(size)
    if "content-encoding: gzip" in head:
        body = gzip.decompress(body)
    return int(head.split()[1]), body


async def _judge_prometheus(asked: Prometheus | None, watch: Watch) -> None:
    """Check what Prometheus made of it."""
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


def _judge(
    vendors: Vendors, receiver: Receiver, havoc: Havoc, watch: Watch, growth: Growth
) -> None:
    """Check what can only be told at the end."""
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
        # A stall is noticed by others than are told, and so perhaps a moment later.
        stalled = watch.feels_stall(told_at, told_at + INTERVAL_SECONDS)
        # That it ends is told of nothing that had not begun.
        wrong = page.state == "firing" and about in steady - havoc.victims
        if page.alertname == ALERT and wrong and not stalled:
            watch.accuse(f"somebody was told of {about}, which was never down")
        if page.state == "expired":
            watch.accuse(f"the exporter fell silent about {about}")
    for text in growth.wrong():
        watch.accuse(text)


async def _judge_process(process: Process, watch: Watch) -> None:
    if process.ended:
        watch.accuse("the exporter ended by itself")
        return
    code = await process.stop()
    if code:
        watch.accuse(f"the exporter ended with {code}")
    for sign in ("Traceback", "_crashed"):
        if sign in process.errors:
            watch.accuse(f"the log has: {sign}")


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments: Any = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    say = sys.stdout.write
    say(f"seed {arguments.seed}, files in {folder}\n")
    report = asyncio.run(run(folder, seconds=arguments.seconds, seed=arguments.seed))
    say(f"{report.pages} pages looked at; of agents was told {report.told} times\n")
    say(f"something stood still {report.stalls} times\n")
    say("done: " + ", ".join(f"{name} {count}" for name, count in sorted(report.done.items())))
    say("".join(f"\nWRONG: {text}" for text in report.wrong) or "\nnothing was wrong")
    say("\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
