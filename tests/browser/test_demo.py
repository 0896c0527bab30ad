"""The whole chain on the screen: simulated vendors, daemon, board, browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.support import cell, shown, tab, violations


if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.browser.support import Demo


pytestmark = pytest.mark.asyncio(loop_scope="module")

LINE = re.compile(r"M\d+ \d+h0(L\d+ \d+)*")
WORDS = {"up": "runnable", "down": "not runnable"}


async def test_the_fleet_is_right(browser: Browser, demo: Demo) -> None:
    """The page must show the targets that the API lists, in the states the demo is known for."""
    async with tab(browser) as page:
        await page.goto(demo.url)
        targets = await demo.api("targets")
        expected = sorted(
            (t["name"], WORDS.get(t["state"], t["state"]) if t["kind"] == "suite" else t["state"])
            for t in targets
        )
        states = await page.locator("td[data-label=Name] + td .state").all_inner_texts()

        assert 68 == len(targets)
        assert expected == sorted(zip(await shown(page), states, strict=True))
        await expect(cell(page, "geneva-01", "Version")).to_have_text("outdated, needs 4.8.9")
        await expect(cell(page, "Recorder 3", "State")).to_have_text("down not reachable")
        await expect(cell(page, "bern-02", "Clock")).to_have_text("+7.5 s")
        await expect(cell(page, "basel-01", "State")).to_have_text("inactive")
        await expect(cell(page, "Cluster 1", "Members")).to_contain_text("2 of 3 members down")
        await expect(page.locator("svg.trend path.line").first).to_have_attribute("d", LINE)
        await expect(page.locator(".phase").first).to_be_visible()


async def test_an_agent_goes_down_and_comes_back(browser: Browser, demo: Demo) -> None:
    """The open page follows the fleet without being loaded again, keeping the focus."""
    async with tab(browser) as page:
        await page.goto(demo.url)
        await page.evaluate("window.still = 'the same page'")
        await cell(page, "zurich-05", "Name").get_by_role("link").focus()

        await demo.control(change={"agents": {"58": {"up": False}}})
        await expect(cell(page, "zurich-05", "State")).to_have_text("down not reachable")
        await expect(page.locator(".headline strong")).to_contain_text("2 agents unreachable")
        assert {"bern-04", "zurich-05"} == set((await shown(page))[:2])
        await demo.control(change={"agents": {"58": {"up": True}}})
        await expect(cell(page, "zurich-05", "State")).to_have_text("up")
        await expect(cell(page, "zurich-05", "Newest failure")).to_contain_text("not reachable")

        assert "the same page" == await page.evaluate("window.still")
        assert "zurich-05" == await page.evaluate("document.activeElement.textContent")


async def test_the_page_of_a_target(browser: Browser, demo: Demo) -> None:
    """A click on a name leads to readings, failures, samples and the command that looks now."""
    async with tab(browser) as page:
        await page.goto(demo.url)

        await cell(page, "Recorder 3", "Name").get_by_role("link").click()

        await expect(page).to_have_title("Recorder 3: recorder of simulated-portal")
        await expect(page.get_by_role("heading", level=1)).to_have_text("recorder Recorder 3")
        await expect(page.locator("#failures + .card tbody tr").first).to_contain_text(
            "not reachable"
        )
        await expect(page.locator("#samples + pre")).to_contain_text("loadfleet_recorder_up{")
        await expect(page.locator("#explain + .card code")).to_have_text(
            "loadfleet-exporter explain simulated-portal recorder 5"
        )
        await expect(page.locator("#readings + .card tbody tr").nth(2)).to_be_visible()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
async def test_what_is_wrong_is_seen_without_scrolling(
    browser: Browser, demo: Demo, width: int, height: int
) -> None:
    """The table of what is wrong follows the headline, and leads to the first target in a click."""
    async with tab(browser, viewport={"width": width, "height": height}) as page:
        await page.goto(demo.url)

        await expect(page.get_by_role("heading", level=2).first).to_contain_text("Needs attention")
        first = page.locator("#attention + .card tbody tr").first
        box = await first.bounding_box()
        await first.get_by_role("link", name="controller-3").click()

        await expect(page.get_by_role("heading", level=1)).to_contain_text("controller-3")
        assert box is not None
        assert height >= box["y"] + box["height"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize(
    "path",
    [
        "",
        "?q=bern&sort=-ping&group=source",
        "target?source=simulated-portal&kind=agent&id=41",
        "runbooks/LoadFleetExporterGone",
    ],
)
async def test_everybody_can_use_it(
    browser: Browser, demo: Demo, scheme: str, width: int, path: str
) -> None:
    """The accessibility check finds nothing serious, in any light and on any screen."""
    size = {"width": width, "height": 800}
    async with tab(browser, color_scheme=scheme, viewport=size) as page:
        await page.goto(demo.url + path)

        assert [] == await violations(page)


@pytest.mark.parametrize("path", ["", "target?source=simulated-portal&kind=suite&id=4"])
async def test_on_a_telephone(browser: Browser, demo: Demo, path: str) -> None:
    """On a telephone, the page must not be wider than the screen, and each value have its name."""
    size = {"width": 360, "height": 740}
    async with tab(browser, viewport=size, is_mobile=True, device_scale_factor=2) as page:
        await page.goto(demo.url + path)

        wide = await page.evaluate("document.documentElement.scrollWidth")
        cell = "section:not([data-key=attention]) td"
        label = f"getComputedStyle(document.querySelector('{cell}'), '::before').content"
        assert 360 == wide
        assert "none" != await page.evaluate(label)
