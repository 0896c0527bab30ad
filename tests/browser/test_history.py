"""The history of thirty days on a target's page, in a real browser."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from exporter.history.records import HOUR
from tests.browser.support import serving, tab, violations
from tests.history.feed import Feed
from tests.support.clock import FakeClock
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Locator


pytestmark = pytest.mark.asyncio(loop_scope="module")


#: The beginning of the 30 days, at a full hour.
BEGIN = (fakes.NOW.unix // HOUR - 719) * HOUR

#: Newest span, uptime, outages, the longest of them and the mean time to repair.
SPANS = [
    # The present hour is in its 14th minute; three readings of 140, 1,004 and 4,316 were down ...
    ["24 hours", "97.85 %", "1", "30 min", "30 min"],
    ["7 days", "99.7 %", "1", "30 min", "30 min"],
    # ... and eighteen before.
    ["30 days", "99.51 %", "3", "2 h", "1 h 10 min"],
]


@asynccontextmanager
async def month(folder: Path) -> AsyncIterator[str]:
    """Serve the page of an agent that was polled every ten minutes, after a restart.

    It was down for two hours on the fourth day, for an hour on the twenty-first, and for half an
    hour between 14 and 13 hours ago.
    """
    clock = FakeClock(unix=BEGIN - 1)
    feed = await Feed(folder, clock).begin()
    down = {3 * 144 + n for n in range(12)} | {20 * 144 + n for n in range(6)}
    newest_day = int((fakes.NOW.unix - 22 * HOUR - BEGIN) // 600)
    down |= {newest_day + 48 + n for n in range(3)}
    for number in range(int((fakes.NOW.unix - BEGIN) // 600) + 1):
        await feed.put(feed.agent("id-bern", up=number not in down))
        clock.shift(600)
        if number % 144 == 0:
            await feed.history.flush()
    await feed.history.aclose()
    later = await Feed(folder, FakeClock(unix=fakes.NOW.unix)).begin()
    view = fakes.FakeView(fakes.agent("bern"), sources=[fakes.source()])
    view.history = later.history
    try:
        async with serving(view) as url:
            yield f"{url}target?source=prod&kind=agent&id=id-bern"
    finally:
        await later.history.aclose()


async def spans(table: Locator) -> list[list[str]]:
    """Return the cells of the spans without their bars."""
    rows = await table.locator("tbody tr").all()
    cells = [await row.locator("td").all_inner_texts() for row in rows]
    return [[name, *others] for name, _, *others in cells]


async def test_thirty_days(browser: Browser, tmp_path: Path) -> None:
    """The bars, uptimes and outages of a month must be right and accessible."""
    viewer = {"timezone_id": "Asia/Kolkata", "locale": "en-GB"}
    async with month(tmp_path) as url, tab(browser, **viewer) as page:
        await page.goto(url)
        table = page.locator("table.spans")

        assert SPANS == await spans(table)
        bars = page.locator("svg.past[role=img]")
        # An outage shorter than a cell of one or six hours is shown as partly.
        for place, looks in enumerate((("up", "down"), ("up", "partly"), ("up", "partly"))):
            for look in looks:
                box = await bars.nth(place).locator(f"path.{look}").bounding_box()
                assert box is not None
                assert box["width"] >= 2
                assert box["height"] >= 12
        newest = page.locator("section[data-key=transitions] time").first
        await expect(newest).to_have_text("14 Nov 2023, 14:10:00")
        await expect(newest).to_have_attribute("title", "2023-11-14 08:40:00 UTC")
        assert [] == await violations(page)


async def test_without_script(browser: Browser, tmp_path: Path) -> None:
    """The same is there, with times in UTC."""
    async with month(tmp_path) as url, tab(browser, java_script_enabled=False) as page:
        await page.goto(url)

        assert SPANS == await spans(page.locator("table.spans"))
        newest = page.locator("section[data-key=transitions] time").first
        await expect(newest).to_have_text("2023-11-14 08:40:00 UTC")
        await expect(page.locator("svg.past[role=img] path.partly").first).to_be_visible()
