"""The row about boards: the cost of ten open boards, and the waiting time of a viewer."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection

from tests.bench.harness import Figure, daemon, median, p95, pings, source, until, vendor
from tests.browser.support import browsing, tab
from tests.support.wait import until as eventually


#: The interval at which the board's script refreshes.
_EVERY_SECONDS = 5.0

_BOARDS = 10

_CORE_SHARE = 0.05
_REPLY_MS = 300.0
_PAINT_MS = 1_000.0
_FILTER_MS = 300.0

#: Types into the search field and returns the milliseconds until the rows are there.
_FILTER = """async (words) => {
    const field = document.querySelector("input[type=search]");
    const begun = performance.now();
    field.value = words;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    while (!document.querySelector(".found").textContent.trim().startsWith("1 of ")) {
        await new Promise(requestAnimationFrame);
    }
    const took = performance.now() - begun;
    field.value = "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    while (document.querySelector(".found").textContent.trim().startsWith("1 of ")) {
        await new Promise(requestAnimationFrame);
    }
    return took;
}"""

_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def boards(*, quick: bool) -> list[Figure]:
    """Measure two daemons at the same time, one of which serves ten boards; then a browser."""
    agents, interval = (1_000, 10.0) if quick else (10_000, 60.0)
    with ExitStack() as stack:
        urls = [stack.enter_context(vendor(agents, delay=0.25))[0] for _ in range(2)]
        started = [
            stack.enter_context(
                daemon(source(url, interval=interval, timeout=5), program="tests.bench.watched")
            )
            for url in urls
        ]
        port, _ = started[0]
        programs = [program for _, program in started]
        until(lambda: min(map(pings, urls)) >= agents)
        viewers = [_Viewer(port) for _ in range(_BOARDS)]
        for viewer in viewers:
            viewer.look()
        cpu = [program.cpu_seconds for program in programs]
        before = [pings(url) for url in urls]
        begun = time.monotonic()
        while time.monotonic() < begun + 2 * interval or min(map(pings, urls)) < 3 * agents:
            for viewer in viewers:
                viewer.look()
                time.sleep(_EVERY_SECONDS / _BOARDS)
        took = time.monotonic() - begun
        used = [program.cpu_seconds - old for program, old in zip(programs, cpu, strict=True)]
        done = [pings(url) - old for url, old in zip(urls, before, strict=True)]
        # The CPU time beyond what the daemon without boards used for as many pings.
        extra = (used[0] - used[1] * done[0] / done[1]) / took
        looks = sum(viewer.looks for viewer in viewers)
        same = sum(viewer.unchanged for viewer in viewers)
        times = [taken * 1e3 for viewer in viewers for taken in viewer.seconds]
        paint, filtering = asyncio.run(_browsed(f"http://127.0.0.1:{port}/", agents))
    detail = {
        "watched": used[0] / took,
        "unwatched": used[1] / took,
        "pings": done[0] / done[1],
        "unchanged": same / looks,
    }
    held, held_alone = (program.held_ms for program in programs)
    return [
        Figure(
            row="boards",
            what="longest time the loop was held beside ten open boards, ms of CPU",
            value=held,
            goal=60.0,
            detail={"unwatched": held_alone},
        ),
        Figure(
            row="boards",
            what="CPU of ten open boards over 5 % of a core",
            value=extra / _CORE_SHARE,
            goal=1.0,
            detail=detail,
        ),
        Figure(
            row="boards",
            what="p95 of a reply to one of ten open boards over 300 ms",
            value=p95(times) / _REPLY_MS,
            goal=1.0,
            detail={"p95_ms": p95(times), "p50_ms": median(times)},
        ),
        Figure(
            row="boards",
            what="first paint in Chromium over a second",
            value=paint / _PAINT_MS,
            goal=1.0,
            detail={"ms": paint},
        ),
        Figure(
            row="boards",
            what="a filter in Chromium over 300 ms",
            value=filtering / _FILTER_MS,
            goal=1.0,
            detail={"ms": filtering},
        ),
    ]


class _Viewer:
    """A browser that requests the board repeatedly, with the tag of its present page."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port)
        self._tag = ""
        self.looks = self.unchanged = 0
        self.seconds: list[float] = []

    def look(self) -> None:
        headers = {"Accept-Encoding": "gzip", "If-None-Match": self._tag}
        begun = time.perf_counter()
        self._connection.request("GET", "/", headers=headers)
        reply = self._connection.getresponse()
        reply.read()
        self.seconds.append(time.perf_counter() - begun)
        self._tag = reply.headers["ETag"]
        self.looks += 1
        self.unchanged += reply.status == HTTPStatus.NOT_MODIFIED


async def _browsed(url: str, agents: int) -> tuple[float, float]:
    """Return the medians of the first paint and of a filter, in milliseconds."""
    paints, filters = [], []
    async with browsing() as browser:
        for _ in range(5):
            async with tab(browser, viewport={"width": 1440, "height": 900}) as page:
                await page.goto(url)
                # Not `wait_for_function`, which the page's security policy forbids.
                await eventually(partial(page.evaluate, f"!!{_PAINT}"))
                paints.append(float(await page.evaluate(_PAINT)))
        async with tab(browser) as page:
            await page.goto(url)
            for turn in range(7):
                words = f"load-{agents - 1 - turn}"
                filters.append(float(await page.evaluate(_FILTER, words)))
    return median(paints), median(filters)
