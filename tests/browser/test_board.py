"""The board's script in a browser, on fleets made by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from exporter.settings.preflights import PreflightSettings
from tests.browser.support import row, serving, shown, tab
from tests.support.wait import until
from tests.web import fakes
from tests.web.endpoints.test_html import HOSTILE


if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

    from exporter.fleet.readings import Reading


pytestmark = pytest.mark.asyncio(loop_scope="module")


#: Compares the page with a newly loaded one, except for the wording of times.
SAME = """async () => {
    const text = await (await fetch(location.href)).text();
    const sent = new DOMParser().parseFromString(text, "text/html");
    const [one, other] = [document, sent].map((page) => {
        const main = page.querySelector("main").cloneNode(true);
        for (const time of main.querySelectorAll("time")) {
            time.textContent = "";
            time.removeAttribute("title");
        }
        return main;
    });
    return one.isEqualNode(other);
}"""


def fleet() -> fakes.FakeView:
    return fakes.FakeView(
        fakes.agent("bern", version="4.10.0"),
        fakes.agent("zurich", version="4.9.0"),
        fakes.agent("basel", up=False),
        sources=[fakes.source()],
    )


async def test_typing_filters(browser: Browser) -> None:
    """Typing must filter the rows at once, and the resulting address must show the same rows."""
    async with serving(fleet()) as url, tab(browser) as page:
        await page.goto(url)

        await page.get_by_role("searchbox").press_sequentially("zur")
        await expect(page.locator(".found")).to_contain_text("1 of 3")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await expect(page).to_have_url(re.compile(r"/\?q=zur$"))
        address = page.url
        await page.goto("about:blank")
        await page.goto(address)

        assert ["zurich"] == await shown(page)
        await expect(page.get_by_role("searchbox")).to_have_value("zur")


async def test_states_and_way_back(browser: Browser) -> None:
    """A click on a state filters, and `back` leads to what was seen before."""
    async with serving(fleet()) as url, tab(browser) as page:
        await page.goto(url)

        await page.locator(".counts").get_by_role("link", name="1 down").click()
        await expect(page.locator(".found")).to_contain_text("1 of 3")
        await expect(page.get_by_role("checkbox", name="down")).to_be_checked()
        await page.go_back()
        await expect(page.locator(".found")).to_contain_text("3 of 3")

        await expect(page.get_by_role("checkbox", name="down")).not_to_be_checked()
        await page.get_by_role("checkbox", name="up").check()
        await page.get_by_role("searchbox").fill("zur")
        await expect(page.locator(".found")).to_contain_text("1 of 3")
        await page.get_by_role("link", name="Clear").click()
        await expect(page.locator(".found")).to_contain_text("3 of 3")
        await expect(page.get_by_role("searchbox")).to_have_value("")


async def test_heads_sort(browser: Browser) -> None:
    """A click on a column's head sorts, a second one turns the order around."""
    async with serving(fleet()) as url, tab(browser) as page:
        await page.goto(url)
        head = page.get_by_role("columnheader", name="Version")

        await head.get_by_role("link").click()
        await expect(head).to_have_attribute("aria-sort", "ascending")
        upwards = await shown(page)
        await head.get_by_role("link").click()
        await expect(head).to_have_attribute("aria-sort", "descending")

        assert ["basel", "zurich", "bern"] == upwards
        assert ["bern", "zurich", "basel"] == await shown(page)


async def test_the_keyboard_is_enough(browser: Browser) -> None:
    """The keyboard alone must be enough to skip to the content, to filter and to open a target."""
    async with serving(fleet()) as url, tab(browser) as page:
        await page.goto(url)

        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("main")).to_be_focused()
        await page.get_by_role("searchbox").focus()
        await page.keyboard.type("basel")
        await page.keyboard.press("Enter")
        await expect(page.locator(".found")).to_contain_text("1 of 3")
        await page.get_by_role("link", name="basel").focus()
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("heading", level=1)).to_have_text("agent basel")


async def test_without_script(browser: Browser) -> None:
    """Filter and order work with a button and links alone."""
    async with serving(fleet()) as url, tab(browser, java_script_enabled=False) as page:
        await page.goto(url)

        await page.get_by_role("searchbox").fill("4.")
        await page.get_by_role("checkbox", name="up").check()
        await page.get_by_role("button", name="Show").click()
        await page.get_by_role("link", name="Version").click()

        assert ["zurich", "bern"] == await shown(page)
        assert page.url.endswith("/?q=4.&state=up&sort=version")


async def test_the_scheme_is_the_viewer_s(browser: Browser) -> None:
    """The page must follow the browser's light or dark scheme."""
    async with serving(fleet()) as url:
        colours = []
        for scheme in ("light", "dark"):
            async with tab(browser, color_scheme=scheme) as page:
                await page.goto(url)
                colours.append(
                    await page.evaluate("getComputedStyle(document.body).backgroundColor")
                )

    assert ["rgb(244, 246, 248)", "rgb(13, 17, 23)"] == colours


async def test_hostile_names_stay_text(browser: Browser) -> None:
    """No name, version or id becomes markup or script, also after a refresh in place."""
    view = fakes.FakeView(sources=[fakes.source()])
    hostile = [fakes.agent(name, version=name, agent_id=name) for name in HOSTILE]
    async with serving(view) as url, tab(browser) as page:
        await page.goto(url)
        view.snapshot = fakes.changed(view.snapshot, readings=tuple(hostile))

        for name in HOSTILE:
            await expect(row(page, name)).to_have_count(1)

        assert sorted(HOSTILE) == sorted(
            await page.locator("td[data-label=Name] bdi").evaluate_all(
                "cells => cells.map(cell => cell.textContent)"
            )
        )
        assert 1 == await page.locator("script").count()
        assert 1 == await page.locator("img").count()
        for name in HOSTILE:
            await page.goto(url)
            await row(page, name).get_by_role("link").click()
            heading = page.get_by_role("heading", level=1)
            assert f"agent {name}" == await heading.evaluate("it => it.textContent")


async def test_says_when_the_exporter_is_gone(browser: Browser) -> None:
    """An old page must not pass for a new one, and heals when the exporter is back."""
    async with serving(fleet()) as url, tab(browser) as page:
        await page.goto(url)
        notice = page.locator("#notice")

        # Fulfilled with a text, because the browser itself would log a refused connection.
        await page.route(url, lambda route: route.fulfill(status=200, content_type="text/plain"))
        await expect(notice).to_contain_text("does not answer")
        await page.unroute(url)

        await expect(notice).to_have_text("")


async def test_a_page_of_a_proxy_is_not_the_board(browser: Browser) -> None:
    """A proxy's error page must not replace the board."""
    answer = {"status": 200, "content_type": "text/html", "body": "<h1>502 Bad Gateway</h1>"}
    async with serving(fleet()) as url, tab(browser) as page:
        await page.goto(url)

        await page.route(url, lambda route: route.fulfill(**answer))
        await _refresh(page)
        await expect(page.locator("#notice")).to_contain_text("does not answer")
        assert ["basel", "bern", "zurich"] == sorted(await shown(page))
        await page.unroute(url)
        await _refresh(page)

        await expect(page.locator("#notice")).to_have_text("")


async def _refresh(page: Page) -> None:
    """Refresh the page now."""
    await page.get_by_role("button", name="Stop refreshing").click()
    await page.get_by_role("button", name="Refresh again").click()


async def test_nothing_is_lost_or_doubled(browser: Browser) -> None:
    """After rows and sections come, go or move, the page must equal the one the server sent."""
    view = fleet()
    agents = {name: fakes.agent(name) for name in "abcdef"}
    fleets: list[list[Reading]] = [
        [agents[name] for name in "abc"],
        [agents["c"], fakes.suite(), fakes.agent("b", up=False), agents["a"], agents["d"]],
        [fakes.controller(), *agents.values(), fakes.cluster(fakes.member("a", up=True))],
        [fakes.recorder()],
        [fakes.agent("a", agent_id="1"), fakes.agent("b", agent_id="1"), fakes.suite()],
        [fakes.agent("c", agent_id="1"), fakes.agent("b", agent_id="1"), agents["a"]],
        [],
        list(agents.values()),
    ]
    async with serving(view) as url, tab(browser) as page:
        await page.goto(url)
        await page.get_by_role("button", name="Stop refreshing").click()
        for readings in fleets:
            view.snapshot = fakes.changed(view.snapshot, readings=tuple(readings))

            # The event of the back button, which refreshes at once, and once only.
            await page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")

            await until(lambda: page.evaluate(SAME), timeout_seconds=30)


async def test_refreshing_can_be_stopped(browser: Browser) -> None:
    """A button must stop the page's refreshing, and start it again."""
    view = fleet()
    async with serving(view) as url, tab(browser) as page:
        await page.clock.install()
        await page.goto(url)
        async with page.expect_request(url):
            await page.clock.run_for(6_000)

        await page.get_by_role("button", name="Stop refreshing").click()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        view.snapshot = fakes.changed(view.snapshot, readings=(fakes.agent("new"),))
        await page.clock.run_for(600_000)
        quiet = not asked
        await page.get_by_role("button", name="Refresh again").click()

        await expect(row(page, "new")).to_be_visible()
        assert quiet


async def test_times_are_the_viewer_s(browser: Browser) -> None:
    """An age grows by itself, other times are local, and UTC is shown on hover."""
    context = {"timezone_id": "Europe/Zurich", "locale": "en-GB"}
    async with serving(fleet()) as url, tab(browser, **context) as page:
        await page.clock.install(time=fakes.NOW.unix + 60)
        await page.goto(url)
        age = row(page, "bern").locator("td[data-label=Read] time")
        await expect(age).to_have_text("1 min 30 s ago")
        await expect(age).to_have_attribute("title", "2023-11-14 22:12:50 UTC")
        await expect(page.locator("footer time")).to_have_text("14 Nov 2023, 23:13:20")

        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.clock.run_for(3_000)

        await expect(age).to_have_text("1 min 33 s ago")
        assert [] == asked


async def test_a_window_is_counted_down_to(browser: Browser) -> None:
    """A window's beginning must be counted down to, until it has come."""
    view = fleet()
    window = {"before": "23:00", "for": "30m"}
    nightly = {"name": "nightly", "agents": {}, "window": window}
    view.preflights = (PreflightSettings.model_validate(nightly),)
    async with serving(view) as url, tab(browser) as page:
        await page.clock.install(time=fakes.NOW.unix + 60)
        await page.goto(url)
        left = page.locator(".preflights time")
        await expect(left).to_have_text("in 15 min 40 s")
        await expect(left).to_have_attribute("title", "2023-11-14 22:30:00 UTC")

        await page.get_by_role("button", name="Stop refreshing").click()
        await page.clock.run_for(940_000)

        await expect(left).to_have_text("now")


async def test_what_did_not_change_is_not_touched(browser: Browser) -> None:
    """A refresh of an unchanged page brings no page, and what is unfolded stays unfolded."""
    view = fleet()
    async with serving(view) as url, tab(browser) as page:
        await page.clock.install()
        await page.goto(url)
        await page.locator("summary").click()
        for _ in range(2):
            async with page.expect_response(url):
                await page.clock.run_for(6_000)
            await expect(page.locator("#notice")).to_have_text("")
        await page.evaluate("document.getElementById('targets').dataset.kept = ''")

        sizes = []
        for _ in range(2):
            async with page.expect_response(url) as answered:
                await page.clock.run_for(6_000)
            reply = await answered.value
            await reply.finished()
            sizes.append((await reply.request.sizes())["responseBodySize"])
        kept = await page.locator("[data-kept]").count()
        view.snapshot = fakes.changed(view.snapshot, readings=(fakes.agent("new"),))
        await page.clock.run_for(6_000)

        await expect(row(page, "new")).to_be_visible()
        assert 1 == kept
        assert [0, 0] == sizes
        await expect(page.locator("details table")).to_be_visible()


async def test_ten_thousand_targets(browser: Browser) -> None:
    """A large fleet is filtered, sorted, paged and refreshed as a small one, on small pages."""
    view = fakes.FakeView(*fakes.ten_thousand(), sources=[fakes.source()])
    view.recent.take(view.snapshot)
    await view.recent.catch_up()
    async with serving(view) as url, tab(browser, viewport={"width": 1440, "height": 900}) as page:
        sizes = {}
        for query in ("?kind=cluster", "?kind=suite", "?group=site&q=a", "?section=attention", ""):
            reply = await page.goto(url + query)
            assert reply is not None
            elements = await page.evaluate("document.querySelectorAll('*').length")
            sizes[query] = (elements, len(await reply.body()))
        await expect(page.locator(".found")).to_contain_text("12,500 of 12,500")
        wrong = await page.locator(".attention tbody tr").first.bounding_box()

        await page.get_by_role("link", name="all 10,000 agents").click()
        await page.get_by_role("link", name="next").click()
        await expect(page.locator("nav.more")).to_contain_text("101 to 200 of 10,000")
        await expect(page.locator("#agents")).to_be_in_viewport()
        await page.get_by_role("columnheader", name="Name").get_by_role("link").click()
        await expect(row(page, "agent-00099.load.example")).to_be_visible()
        fresh = fakes.agent("agent-00000.load.example")
        view.snapshot = fakes.changed(view.snapshot, readings=(fresh, *view.snapshot.readings[1:]))
        first = row(page, "agent-00000.load.example").locator(".state")
        await expect(first).to_have_text("up")
        await page.get_by_role("searchbox").fill("agent-04321")
        await expect(page.locator(".found")).to_contain_text("1 of 12,500")

        assert ["agent-04321.load.example"] == await shown(page)
        assert wrong is not None
        assert 900 > wrong["y"] + wrong["height"]
        assert {} == {
            query: size for query, size in sizes.items() if size[0] > 4_000 or size[1] > 300_000
        }
