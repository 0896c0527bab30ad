"""The rows about calls: the cost of a ping, the time of ten thousand, and hanging targets."""

from __future__ import annotations

import asyncio
import re
import time

from tests.bench import peers
from tests.bench.harness import (
    Figure,
    Scraper,
    daemon,
    median,
    rounds,
    sample,
    source,
    until,
    vendor,
)


_PING = {"agentId": 7, "authTokenValue": "a-token", "action": "pingMeasuringAgent"}

_DURATION = "loadfleet_exporter_http_request_duration_seconds"


def cpu_per_ping(*, quick: bool) -> list[Figure]:
    """Measure the CPU time of a ping, from the schedule to the page, and a blackbox exporter's."""
    agents, turns = (1_000, 1) if quick else (5_000, 5)
    taken: dict[int, list[float]] = {flight: [] for flight in (16, 64, 256)}
    probes = []
    # In turns, because a shared machine is not always equally fast.
    for _ in range(turns):
        for flight, each in taken.items():
            each.append(_cpu_micros(agents, flight))
        probes.append(_blackbox_micros(2_000 if quick else 5_000, 64))
    micros = {flight: median(each) for flight, each in taken.items()}
    theirs = median(probes)
    detail = {f"at_{flight}_us": value for flight, value in micros.items()}
    return [
        Figure(
            row="ping",
            what="our CPU per ping over blackbox's per probe, 64 in flight",
            value=micros[64] / theirs,
            goal=0.40,
            detail={**detail, "blackbox_us": theirs},
        ),
        Figure(
            row="ping",
            what="our CPU per ping at 256 in flight over that at 16",
            value=micros[256] / micros[16],
            goal=1.3,
        ),
    ]


def ten_thousand(*, quick: bool) -> list[Figure]:
    """Measure the time of a poll of slow pings against the ideal, and the reported time."""
    agents, flight, delay = 2_560 if quick else 10_000, 256, 0.25
    turns = []
    for _ in range(1 if quick else 5):
        with vendor(agents, delay=delay) as (url, _), daemon(_source(url, 30, flight)):
            turns += _rounds(url, agents, 1)
    took = median(turns)
    ideal = agents * delay / flight
    # A bound of the histogram is at 1.25 times this delay, so that it can tell.
    delay = 0.2
    with vendor(agents, delay=delay) as (url, _), daemon(_source(url, 30, flight)) as (port, _):
        _rounds(url, agents, 1)
        page = _settled(port)
    within = _bucket(page, "0.25") / _bucket(page, "+Inf")
    return [
        Figure(
            row="pings",
            what="a round of 250 ms pings at 256 in flight over the ideal",
            value=took / ideal,
            goal=1.05,
            detail={"round_s": took, "ideal_s": ideal},
        ),
        Figure(
            row="pings",
            what="part of the calls that are reported within 1.25 times the delay",
            value=within,
            goal=0.99,
            at_least=True,
        ),
    ]


def hanging(*, quick: bool) -> list[Figure]:
    """Measure the time of a poll's healthy targets, with and without 2 % that hang."""
    agents, flight, delay, every = 2_560 if quick else 10_000, 256, 0.25, 50
    interval = 45.0
    with vendor(agents, delay=delay) as (url, _), daemon(_source(url, interval, flight)):
        without = _rounds(url, agents, 1)[0]
    with (
        vendor(agents, delay=delay, hanging=every) as (url, _),
        daemon(_source(url, interval, flight)),
    ):
        # In the first poll, it is not known yet which agents hang.
        first, second = _rounds(url, agents - agents // every, 2)
    figure = Figure(
        row="hanging",
        what="healthy targets done with 2 % hanging over without",
        value=second / without,
        goal=1.2,
        detail={"without_s": without, "first_round_s": first, "second_round_s": second},
    )
    return [figure]


def neighbours(*, quick: bool) -> list[Figure]:
    """Measure the pace of eight sources beside a dead and a slow one, and beside healthy ones."""
    agents, healthy, interval = 300 if quick else 1_000, 8, 10.0
    seconds = 20.0 if quick else 60.0
    alone = _pace(agents, healthy, interval, seconds, spoilt=False)
    spoilt = _pace(agents, healthy, interval, seconds, spoilt=True)
    names = ("polls", "mean poll", "mean lateness")
    detail = {
        f"{name} {case}": value
        for case, values in (("alone", alone), ("spoilt", spoilt))
        for name, value in zip(names, values, strict=True)
    }
    return [
        Figure(
            row="neighbours",
            what="polls of the healthy sources beside a dead and a slow one",
            value=spoilt[0] / alone[0],
            goal=0.97,
            at_least=True,
            detail=detail,
        ),
        Figure(
            row="neighbours",
            what="their mean duration over that without",
            value=spoilt[1] / alone[1],
            goal=1.1,
        ),
    ]


def _source(url: str, interval: float, flight: int) -> dict[str, object]:
    return source(url, interval=interval, concurrency=flight)


def _rounds(url: str, pings: int, wanted: int) -> list[float]:
    """Return the durations of polls, from the list to the last answer, once there are enough."""
    found: list[dict[str, float]] = []

    def done() -> bool:
        nonlocal found
        time.sleep(0.5)
        found = [turn for turn in rounds(url) if turn["pings"] >= pings]
        return len(found) >= wanted

    until(done)
    return [turn["ended"] - turn["started"] for turn in found[:wanted]]


def _cpu_micros(agents: int, flight: int) -> float:
    # The interval is short, so that hardly anything but pings is measured.
    interval = 2.0 if agents <= 1_000 else 4.0
    with (
        vendor(agents) as (url, _),
        daemon(source(url, interval=interval, concurrency=flight, timeout=1)) as (port, exporter),
    ):
        scraper = Scraper(port, gzip=True)
        scraper.get()
        _rounds(url, agents, 1)
        _settled(port)
        before, begun = exporter.cpu_seconds, sum(turn["pings"] for turn in rounds(url))
        _rounds(url, agents, 3)
        _settled(port)
        pings = sum(turn["pings"] for turn in rounds(url)) - begun
        return (exporter.cpu_seconds - before) / pings * 1e6


def _settled(port: int) -> bytes:
    """Return the page once no call is under way."""
    scraper = Scraper(port)
    page = b""

    def quiet() -> bool:
        nonlocal page
        time.sleep(0.2)
        page = scraper.get()
        return sample(page, "loadfleet_exporter_http_requests_in_flight") == 0

    until(quiet)
    return page


def _bucket(page: bytes, bound: str) -> float:
    wanted = (b'operation="pingMeasuringAgent"', f'le="{bound}"'.encode())
    lines = b"\n".join(
        line
        for line in page.splitlines()
        if line.startswith(f"{_DURATION}_bucket".encode()) and all(each in line for each in wanted)
    )
    return sample(lines, f"{_DURATION}_bucket")


def _blackbox_micros(probes: int, flight: int) -> float:
    with vendor(1) as (url, _), peers.blackbox(_PING) as (port, blackbox):
        path = f"/probe?module=post&target={url}"
        asyncio.run(_load(port, path, flight * 4, flight))
        before = blackbox.cpu_seconds
        asyncio.run(_load(port, path, probes, flight))
        return (blackbox.cpu_seconds - before) / probes * 1e6


async def _load(port: int, path: str, requests: int, flight: int) -> None:
    """Send requests over kept connections, one for each request in flight."""
    left = iter(range(requests))
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            mark = head.lower().find(b"content-length:")
            if mark >= 0:
                body = await reader.readexactly(int(head[mark + 15 :].split(b"\r\n", 1)[0]))
            else:
                chunks = await reader.readuntil(b"\r\n0\r\n\r\n")
                body = re.sub(rb"\r\n[0-9a-f]+\r\n", b"", chunks)
            assert b"probe_success 1" in body
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(flight):
            group.create_task(client())


def _pace(
    agents: int, healthy: int, interval: float, seconds: float, *, spoilt: bool
) -> tuple[float, float, float]:
    """Return polls of the healthy sources in a time, their mean duration and mean lateness."""
    with (
        vendor(agents, delay=0.05) as (url, _),
        vendor(agents, delay=0.05, hanging=1 if spoilt else 0) as (dead, _),
        vendor(agents, delay=2.0 if spoilt else 0.05) as (slow, _),
    ):
        urls = [*(url for _ in range(healthy)), dead, slow]
        sources = [
            source(each, name=f"s{number}", interval=interval, concurrency=16, timeout=5)
            for number, each in enumerate(urls)
        ]
        with daemon(*sources) as (port, _):
            time.sleep(interval)  # the first round is at once and everybody's
            before = _polls(port, healthy)
            time.sleep(seconds)
            after = _polls(port, healthy)
    count, total, late_count, late = (b - a for a, b in zip(before, after, strict=True))
    return count, total / count, late / late_count


def _polls(port: int, healthy: int) -> tuple[float, float, float, float]:
    page = Scraper(port).get()
    wanted = tuple(f'source="s{number}"'.encode() for number in range(healthy))
    lines = b"\n".join(line for line in page.splitlines() if any(each in line for each in wanted))
    names = (
        "poll_duration_seconds_count",
        "poll_duration_seconds_sum",
        "schedule_lateness_seconds_count",
        "schedule_lateness_seconds_sum",
    )
    count, total, late_count, late = (sample(lines, f"loadfleet_exporter_{name}") for name in names)
    return count, total, late_count, late
