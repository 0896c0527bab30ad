"""The wall clock of the exporter's host is set, by a day or by decades, ahead and back again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from exporter.conformance.trial import Trial, accused, ups, vendor_samples
from tests.support.candidates import CANDIDATES
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.conformance.trial import Page


DAY_SECONDS = 86_400.0
YEAR_SECONDS = 365.25 * DAY_SECONDS
INTERVAL_SECONDS = 61.0

JUMPS = {
    "a day ahead": DAY_SECONDS,
    "a day back": -DAY_SECONDS,
    "400 days ahead": 400 * DAY_SECONDS,
    "50 years back": -50 * YEAR_SECONDS,
    "9,000 days ahead": 9_000 * DAY_SECONDS,
    "an hour ahead": 3_600.0,
    "an hour back": -3_600.0,
}

SOURCES = {candidate.name: candidate for candidate in CANDIDATES}


#: The most runs that are asked about: those that ended lately, by the clock as it is set.
MOST_OF_RUNS = 4 * 24


def machines(page: Page, *, dated: bool) -> dict[str, float]:
    """Return what is shown of machines and of suites without a `lookback`.

    Args:
        page: The scraped page.
        dated: Whether to include suites with a `lookback`, which goes by the host's clock.
    """
    return {
        f"{name} {sorted(labels)}": value
        for source in SOURCES
        for (name, labels), value in vendor_samples(page, source).items()
        if name.endswith(("_up", "_active"))
        or (name.endswith("_last_run_passed") and (dated or source != "blazemeter"))
    }


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS.keys())
async def test_a_clock_that_is_set_changes_nothing(
    jump: float, ca_file: str, tmp_path: Path
) -> None:
    """After a set clock, no reading may be lost, no poll fail, and few more calls be sent."""
    vendors = FakeClock()
    trial = Trial(SOURCES, tmp_path, vendors_clock=vendors.clock, ca_file=ca_file, timeout="8s")

    def calls() -> int:
        return sum(len(subject.front.seen) for subject in trial.subjects.values())

    async def poll() -> tuple[Page, int]:
        before = calls()
        await trial.engine.poll_once()
        page = trial.page()
        for clock in (trial.time, vendors):
            clock.shift(INTERVAL_SECONDS)
        return page, calls() - before

    with capture_logs() as logs:
        async with trial:
            await poll()
            good, usual = await poll()
            pages, counts = [], []
            for seconds in (jump, -jump):
                trial.time.unix += seconds
                trial.engine.store.expire()
                pages.append(trial.page())
                for _ in range(2):
                    page, count = await poll()
                    pages.append(page)
                    counts.append(count)

    assert machines(good, dated=True)
    for page in pages:
        assert machines(good, dated=False) == machines(page, dated=False)
        assert ups(good) == ups(page)
        assert [{}] * len(SOURCES) == [accused(page, source) for source in SOURCES]
    assert machines(good, dated=True) == machines(pages[-1], dated=True)
    assert {} == {name: found for name, found in trial.failures().items() if found}
    assert max(counts) <= usual + MOST_OF_RUNS
    assert counts[-1] <= usual + len(SOURCES)
    assert [] == [entry for entry in logs if entry.get("exc_info") or "crashed" in entry["event"]]
