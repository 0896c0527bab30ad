"""Readings of a fleet of any size: twelve samples per agent, all of which change each turn."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.samples import Sample

from exporter.clock import SYSTEM_CLOCK, Moment
from exporter.fleet.readings import Agent, AgentState
from exporter.fleet.store import Snapshot
from exporter.metrics.catalogue import FAMILIES
from exporter.metrics.mapping import samples


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


SAMPLES_PER_AGENT = 12


def snapshot(agents: int, turn: int) -> Snapshot:
    """Make a snapshot, all of whose values differ from those of the turn before."""
    dice = random.Random(turn)  # noqa: S311 - the same for every run
    odd = bool(turn % 2)
    at = Moment(unix=1.7e9 + 60 * turn, monotonic=float(turn))
    readings = tuple(
        Agent(
            agent_id=str(number),
            agent=f"load-{number}.example.com",
            host=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            port="8080",
            active=odd,
            protected=odd,
            last_up_timestamp_seconds=at.unix + dice.randrange(10**6) / 10**6,
            state=AgentState(
                read_at=at,
                up=True,
                outdated=odd,
                version="4.8.24",
                os="Linux",
                os_version="6.1.0-28-amd64",
                java_version="17.0.1",
                java_vendor="Eclipse Adoptium",
                clock_delta_seconds=dice.randrange(-999, 999) / 1000 + turn,
                ping_duration_seconds=dice.randrange(999) / 1000 + turn,
                start_timestamp_seconds=1.69e9 + dice.randrange(10**9) / 1000,
                memory_limit_bytes=float(2**31 + turn * 1024 + number),
                users_limit=500.0 + turn,
                job_duration_limit_seconds=3600.0 + turn,
            ),
        )
        for number in range(agents)
    )
    return Snapshot(
        provider="realload",
        source="portal",
        task="agents",
        readings=readings,
        taken=SYSTEM_CLOCK.now(),
        stale_after=math.inf,
    )


class Families:
    """The families of a snapshot as prometheus-client's objects, made beforehand."""

    def __init__(self, of: Snapshot) -> None:
        self._metrics: Sequence[Metric] = list(_metrics(of))

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._metrics


def _metrics(of: Snapshot) -> Iterable[Metric]:
    found: dict[str, list[Sample]] = {}
    own = {"provider": of.provider, "source": of.source}
    for reading in of.readings:
        for family, values, value in samples(reading):
            labels = own | dict(zip(family.labels, values, strict=True))
            found.setdefault(family.name, []).append(Sample(family.name, labels, value))
    for family in FAMILIES:
        if family.name in found:
            name = family.name.removesuffix("_info") if family.kind == "info" else family.name
            metric = Metric(name, family.help, family.kind)
            metric.samples = found[family.name]
            yield metric
