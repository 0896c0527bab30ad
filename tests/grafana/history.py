"""Six hours of a fleet in a Prometheus, recorded within minutes.

A Prometheus scrapes the fleet once a second while rules are evaluated. Its series are then written
again with more time between the samples, as if it had scraped every minute or two; times in the
samples' values are moved along. The end is a fixed moment, so that pictures show the same hours
whenever they are made.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.dashboards.test_answers import watched
from tests.support.prometheus import Prometheus, prometheus
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


SPAN_SECONDS = 6 * 3600
#: The time between two scrapes, below the 5 minutes after which a series ends.
STEP_SECONDS = 90
SAMPLES = SPAN_SECONDS // STEP_SECONDS

END = datetime(2026, 3, 2, 15, tzinfo=UTC).timestamp()

#: The recorded series, without those of the other program, which must not show up.
_RECORDED = '{__name__=~".+", job!="other"}'

#: Families of moments, and of durations in the simulation; the durations of calls are real.
_MOMENT = re.compile(r"timestamp_seconds$")
_LASTED = re.compile(r"((run|testjob|phase|suite_baseline|boot)_duration|poll_interval)_seconds$")
#: Windows, which follow the real wall clock.
_WINDOW = re.compile(r"window_(start|end)_timestamp_seconds$")


@asynccontextmanager
async def history(folder: Path, *, samples: int = SAMPLES) -> AsyncIterator[Prometheus]:
    """Record the fleet and run a Prometheus that holds its last hours until `END`.

    Args:
        folder: The folder of all files.
        samples: The samples of each series, each a second of recording and `STEP_SECONDS` of
            history.
    """
    live, stretched = folder / "live", folder / "stretched"
    live.mkdir()
    stretched.mkdir()
    async with watched(live) as asked:
        series, end = await _recorded(asked, samples)
    await asyncio.to_thread(_write, stretched, series, end)
    # A long retention, or Prometheus would delete the old blocks.
    async with prometheus(stretched, {}, "--storage.tsdb.retention.time=100y") as held:
        yield held


async def _recorded(asked: Prometheus, samples: int) -> tuple[list[dict[str, Any]], float]:
    """Wait for enough samples; return the series and the newest moment."""
    seconds = samples + 10

    async def enough() -> bool:
        return any(
            count >= samples
            for count in await asked.values(f'count_over_time(up{{job="loadfleet"}}[{seconds}s])')
        )

    await until(enough, timeout_seconds=60 + 2 * samples)
    series = await asked.query(f"{_RECORDED}[{seconds}s]")
    return series, max(one["values"][-1][0] for one in series)


def _write(folder: Path, series: list[dict[str, Any]], end: float) -> None:
    """Write series with more time between their samples into the folder of a Prometheus."""
    promtool, path = require("promtool"), folder / "samples.txt"
    with path.open("w") as file:
        for one in sorted(series, key=lambda each: each["metric"]["__name__"]):
            name = one["metric"].pop("__name__")
            labels = ",".join(
                f"{key}={json.dumps(value, ensure_ascii=False)}"
                for key, value in one["metric"].items()
            )
            file.writelines(
                f"{name}{{{labels}}} {value} {moment:.3f}\n"
                for value, moment in _stretched(name, one["values"], end)
            )
        file.write("# EOF\n")
    into = [str(path), str(folder / "tsdb")]
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", *into],
        check=True,
        capture_output=True,
    )


def _stretched(
    name: str, points: list[tuple[float, str]], end: float
) -> Iterator[tuple[str, float]]:
    """Yield values and their moments, with each second of recording stretched to a step."""

    def moved(moment: float) -> float:
        # The future, such as the end of a certificate, stays as far away as it was.
        return END + (moment - end) * (STEP_SECONDS if moment < end else 1)

    for moment, text in points:
        value = text
        if _WINDOW.search(name):
            value = repr(float(text) + END - end)
        elif _MOMENT.search(name) and float(text) > 0:
            value = repr(moved(float(text)))
        elif _LASTED.search(name):
            value = repr(float(text) * STEP_SECONDS)
        yield value, moved(moment)
