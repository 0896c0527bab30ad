"""The row about growth: the cost of a ping and a series in fleets of 1,000 to 100,000 agents."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from tests.bench.fleet import SAMPLES_PER_AGENT
from tests.bench.harness import Figure, Scraper, daemon, pings, sample, source, until, vendor


#: The interval of Prometheus' own example configuration.
_SCRAPE_SECONDS = 15.0

_PEAK_MIB = 700.0


class _Cost(NamedTuple):
    """The cost of a daemon.

    Attributes:
        micros: Microseconds of CPU per ping.
        bytes_per_series: Resident memory per series, beyond that of an idle daemon.
        peak_mib: The highest resident memory.
        held_ms: The longest time the loop was held, in CPU time, of a daemon with alerts.
    """

    micros: float
    bytes_per_series: float
    peak_mib: float
    held_ms: float


def growth(*, quick: bool) -> list[Figure]:
    """Measure CPU and memory of daemons that are polled and scraped, without alerts and with."""
    sizes = (500, 5_000) if quick else (1_000, 10_000, 100_000)
    least = 4_000 if quick else 20_000
    alone = {size: _cost(size, least=least) for size in sizes}
    alerting = {size: _cost(size, least=least, alerts=True) for size in sizes[-2:]}
    middle, largest = sizes[-2:]
    figures = []
    for size in sizes:
        cost = alone[size]
        figures += [
            Figure(
                row="growth",
                what=f"CPU per ping with {size:,} agents over {middle:,}",
                value=cost.micros / alone[middle].micros,
                goal=1.1 if size > middle else 1.2,
                detail={"us_per_ping": cost.micros},
            ),
            Figure(
                row="growth",
                what=f"bytes per series with {size:,} agents over {middle:,}",
                value=cost.bytes_per_series / alone[middle].bytes_per_series,
                goal=1.2,
                detail={"bytes_per_series": cost.bytes_per_series},
            ),
        ]
    figures.append(
        Figure(
            row="growth",
            what=f"CPU per ping with {largest:,} agents over {middle:,}, with alerts",
            value=alerting[largest].micros / alerting[middle].micros,
            goal=1.1,
            detail={f"{size}_us": cost.micros for size, cost in alerting.items()}
            | {"held_ms": alerting[largest].held_ms},
        )
    )
    figures += [
        Figure(
            row="growth",
            what=f"peak memory with {largest:,} agents over 700 MiB{which}",
            value=cost.peak_mib / _PEAK_MIB,
            goal=1.0,
            detail={"mib": cost.peak_mib},
        )
        for which, cost in (("", alone[largest]), (", with alerts", alerting[largest]))
    ]
    return figures


def _cost(agents: int, *, least: int, alerts: bool = False) -> _Cost:
    """Measure over a number of pings and two polls, at least."""
    # The same number of pings a second, whatever the size.
    interval = max(1.0, agents / 1_000)
    with vendor(agents) as (url, _):
        alerting = _alerting(url) if alerts else None
        of = source(url, interval=interval, timeout=0.5)
        # Watching the loop costs CPU time, which must not be measured with it.
        daemon_module = "tests.bench.watched" if alerts else "exporter"
        with daemon(of, program=daemon_module, alerting=alerting) as (port, program):
            idle = program.memory_mib
            _scraped_until(port, url, agents)
            cpu, before = program.cpu_seconds, pings(url)
            _scraped_until(port, url, before + max(2 * agents, least))
            micros = (program.cpu_seconds - cpu) / (pings(url) - before) * 1e6
            peak, used = program.peak_mib, program.memory_mib - idle
            # Last, because this scrape asks for another form of the page.
            series = sample(Scraper(port).get(), "loadfleet_exporter_series")
            assert series >= agents * SAMPLES_PER_AGENT
    return _Cost(micros, used * 2**20 / series, peak, program.held_ms if alerts else 0.0)


def _alerting(url: str) -> dict[str, Any]:
    """Return the configuration of built-in alerts that find nothing wrong with the fleet."""
    # None of the agents demands a token.
    return {"heartbeat_url": url, "alerts": {"AgentUnprotected": {"off": True}}}


def _scraped_until(port: int, url: str, done: float) -> None:
    """Scrape until so many pings were answered."""
    due = time.monotonic()

    def reached() -> bool:
        nonlocal due
        if time.monotonic() >= due:
            # With a new connection, since one that was idle for so long is closed.
            Scraper(port, gzip=True).get()
            due += _SCRAPE_SECONDS
        return pings(url) >= done

    until(reached, timeout_seconds=900, every_seconds=0.2)
