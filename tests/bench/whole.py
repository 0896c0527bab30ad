"""The rows about the whole: both loads at once, the state, and the start."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.bench.harness import (
    ENVIRON,
    NOWHERE,
    ROOT,
    Figure,
    Scraper,
    daemon,
    free_port,
    median,
    module,
    p99,
    pings,
    rounds,
    sample,
    source,
    until,
    vendor,
)
from tests.bench.peers import redis


if TYPE_CHECKING:
    from tests.bench.harness import Program


#: The exporter's dependencies, whose imports are the lower bound of its start time.
_PACKAGES = (
    "aiohttp, apscheduler.schedulers.asyncio, bcrypt, cryptography.x509, httptools, httpx,"
    " jinja2, msgspec, prometheus_client, pydantic, pydantic_settings, yaml,"
    " starlette.applications, structlog, uvicorn, uvloop, isal.isal_zlib"
)

_STATE_UP = "loadfleet_exporter_state_up"

_DELAY = 0.25
_CONCURRENCY = 64


def whole(*, quick: bool) -> list[Figure]:
    """Measure the daemon and a naive exporter under calls and scrapes at once."""
    agents, interval = (1_500, 20.0) if quick else (10_000, 60.0)
    seconds = 40.0 if quick else 60.0
    ours = _under_load(agents, interval, seconds)
    theirs = _naive_under_load(agents, interval, seconds)
    detail = {f"exporter {name}": value for name, value in ours.items()}
    detail |= {f"naive {name}": value for name, value in theirs.items()}
    return [
        Figure(
            row="whole",
            what="our CPU over the naive exporter's",
            value=ours["cpu"] / theirs["cpu"],
            goal=0.25,
            detail=detail,
        ),
        Figure(
            row="whole",
            what="part of the pings that were due",
            value=ours["pings"],
            goal=0.97,
            at_least=True,
        ),
        Figure(
            row="whole",
            what="longest time the loop was held, ms of CPU",
            value=ours["held_ms"],
            goal=60.0,
        ),
        Figure(
            row="whole",
            what="scrape p99 under load over idle",
            value=ours["p99_ms"] / ours["idle_p99_ms"],
            goal=5.0,
        ),
    ]


def state(*, quick: bool) -> list[Figure]:
    """Measure the CPU time of three daemons: with the state on disk, on Redis, and in memory."""
    agents, interval, turns = (1_000, 6.0, 5) if quick else (10_000, 60.0, 5)
    with ExitStack() as stack:
        places = {"disk": None, "redis": {"url": stack.enter_context(redis())}, "none": NOWHERE}
        urls, ports, programs = {}, {}, {}
        for name in places:
            urls[name], _ = stack.enter_context(vendor(agents, delay=_DELAY))
        for name, place in places.items():
            ports[name], programs[name] = stack.enter_context(
                daemon(_polled(urls[name], interval), state=place)
            )
        until(lambda: min(map(pings, urls.values())) >= agents)
        found = {name: sample(Scraper(port).get(), _STATE_UP) for name, port in ports.items()}
        assert found == {"disk": 1, "redis": 1, "none": 0}, "a state is not where it was to be"
        cpu = {name: program.cpu_seconds for name, program in programs.items()}
        before = {name: pings(url) for name, url in urls.items()}
        # Whole polls, so that all programs have done the same work.
        until(
            lambda: min(map(pings, urls.values())) >= (1 + turns) * agents,
            timeout_seconds=(1 + turns) * interval + 60,
        )
        micros = {
            name: (program.cpu_seconds - cpu[name]) / (pings(urls[name]) - before[name]) * 1e6
            for name, program in programs.items()
        }
    return [
        Figure(
            row="state",
            what=f"our CPU per ping with the state {where} over that without",
            value=micros[name] / micros["none"],
            goal=1.05,
            detail={"us_per_ping": micros[name], "without": micros["none"]},
        )
        for name, where in (("disk", "on the disk"), ("redis", "on Redis"))
    ]


def start(*, quick: bool) -> list[Figure]:
    """Measure the time from the start to the first page, and the memory of an idle daemon."""
    turns = 3 if quick else 9
    times: dict[str, list[float]] = {"exporter": [], "imports": []}
    memory: dict[str, list[float]] = {"exporter": [], "imports": []}
    for _ in range(turns):
        begun = time.perf_counter()
        with daemon(source(f"http://127.0.0.1:{free_port()}", interval=3600)) as (port, program):
            Scraper(port).get()
            times["exporter"].append(time.perf_counter() - begun)
            time.sleep(1)
            memory["exporter"].append(program.memory_mib)
        seconds, mib = _imports()
        times["imports"].append(seconds)
        memory["imports"].append(mib)
    return [
        Figure(
            row="start",
            what="start to the first page over the bare imports",
            value=median(times["exporter"]) / median(times["imports"]),
            goal=1.6,
            detail={f"{name}_ms": median(values) * 1e3 for name, values in times.items()},
        ),
        Figure(
            row="start",
            what="idle memory over that after the bare imports",
            value=median(memory["exporter"]) / median(memory["imports"]),
            goal=1.3,
            detail={f"{name}_mib": median(values) for name, values in memory.items()},
        ),
    ]


def _under_load(agents: int, interval: float, seconds: float) -> dict[str, float]:
    with vendor(agents, delay=_DELAY) as (url, _):
        of = _polled(url, interval)
        with daemon(of, program="tests.bench.watched") as (port, program):
            until(lambda: pings(url) >= agents)
            time.sleep(1)
            idle = _scraped(port, 8)
            # From the start of a poll, so that the number of polls is that of the intervals.
            until(lambda: len(rounds(url)) > 1)
            found = _measured(port, program, url, seconds)
    due = agents / interval
    return {
        "cpu": found["cpu"],
        "pings": found["pings_per_second"] / due,
        "held_ms": program.held_ms,
        "p99_ms": found["p99_ms"],
        "p50_ms": found["p50_ms"],
        "idle_p99_ms": p99(idle) * 1e3,
    }


def _polled(url: str, interval: float) -> dict[str, object]:
    return source(url, interval=interval, concurrency=_CONCURRENCY, timeout=5)


def _naive_under_load(agents: int, interval: float, seconds: float) -> dict[str, float]:
    port = free_port()
    with vendor(agents, delay=_DELAY) as (url, _):
        flags = ("--port", port, "--url", url, "--interval", interval)
        with module("naive", *flags, "--concurrency", _CONCURRENCY) as program:
            program.listens(port)
            # It may never finish a poll, so it is scraped after a minute at the latest.
            deadline = time.monotonic() + interval
            until(lambda: pings(url) >= agents or time.monotonic() > deadline)
            return _measured(port, program, url, seconds)


def _measured(port: int, program: Program, url: str, seconds: float) -> dict[str, float]:
    """Scrape once a second, and return the CPU time as a share of one core."""
    cpu, before, begun = program.cpu_seconds, pings(url), time.monotonic()
    times = _scraped(port, seconds)
    took = time.monotonic() - begun
    done = pings(url) - before
    return {
        "cpu": (program.cpu_seconds - cpu) / took,
        "pings_per_second": done / took,
        "p50_ms": median(times) * 1e3,
        "p99_ms": p99(times) * 1e3,
    }


def _scraped(port: int, seconds: float) -> list[float]:
    scraper = Scraper(port, gzip=True)
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        taken = scraper.seconds()
        times.append(taken)
        time.sleep(max(0.0, 1.0 - taken))
    return times


def _imports() -> tuple[float, float]:
    code = f"import {_PACKAGES}\nimport sys; sys.stdout.write(open('/proc/self/status').read())"
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=ENVIRON,
        check=True,
        capture_output=True,
        text=True,
    )
    took = time.perf_counter() - begun
    line = next(line for line in done.stdout.splitlines() if line.startswith("VmRSS:"))
    return took, int(line.split()[1]) / 1024
