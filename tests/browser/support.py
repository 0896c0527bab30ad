"""A real browser, and the two daemons it visits: the demo, and one made by hand."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from exporter.config.address import Address
from exporter.web.app import create_app
from exporter.web.server.uvicorn_server import WebServer
from tests.support.processes import EXPORTER, answers, fetch, free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Locator, Page

    from exporter.overview.interface import View


#: Ample for a poll every 5 s and a refresh every 5 s on a busy machine.
PATIENCE_MS = 40_000.0

expect.set_options(timeout=PATIENCE_MS)

_FLAGS = (
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class Demo:
    """A running demo, whose fleet changes only by a test."""

    def __init__(self, url: str, portal: str) -> None:
        self.url = url
        self._portal = portal

    async def control(self, **command: Any) -> None:
        """Change the simulated fleet."""
        reply = json.loads(await fetch(f"{self._portal}/_control", data=command))
        assert "error" not in reply, reply

    async def api(self, path: str) -> list[dict[str, Any]]:
        """Return an answer of the JSON API."""
        data = json.loads(await fetch(f"{self.url}api/v1/{path}"))["data"]
        found: list[dict[str, Any]] = data[path]
        return found


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[Demo]:
    """Run the demo, and wait until its whole fleet is known."""
    port, portal_port = free_port(), free_port()
    async with running(
        *EXPORTER,
        "demo",
        "--still",
        f"--realload-port={portal_port}",
        f"--web.listen-address=127.0.0.1:{port}",
        folder=folder,
        name="demo",
    ) as process:
        found = Demo(f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{portal_port}")
        await answers(f"{found.url}-/ready", process)

        async def ready() -> bool:
            return "ready\n" == await fetch(f"{found.url}-/ready")

        await until(ready, timeout_seconds=60)
        yield found
        assert "Traceback" not in process.errors


@asynccontextmanager
async def serving(view: View) -> AsyncIterator[str]:
    """Serve a view and yield the URL of its board."""
    server = WebServer(create_app(view), [Address("127.0.0.1", 0)])
    await server.start()
    try:
        yield f"http://{server.addresses[0]}/"
    finally:
        await server.stop(grace_seconds=1.0)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run Debian's Chromium."""
    path = require("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def tab(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """Open a page that may neither log an error nor fetch anything from elsewhere.

    Args:
        browser: The browser.
        options: Options of the browser's context, such as `color_scheme`.
    """
    complaints: list[str] = []
    hosts: set[str] = set()
    context = await browser.new_context(**options)
    page = await context.new_page()
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2].split(":")[0]))
    try:
        yield page
    finally:
        await context.close()
    assert [] == complaints
    assert hosts <= {"127.0.0.1"}


async def violations(page: Page) -> list[str]:
    """Return axe's serious and critical violations."""
    found = (await Axe().run(page)).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


def row(page: Page, name: str) -> Locator:
    """Return the row of the target with a name."""
    return page.locator("tr").filter(
        has=page.locator("td[data-label=Name] bdi").get_by_text(name, exact=True)
    )


def cell(page: Page, name: str, column: str) -> Locator:
    """Return a cell of the target with a name."""
    return row(page, name).locator(f"td[data-label='{column}']")


async def shown(page: Page) -> list[str]:
    """Return the names of the targets, from top to bottom."""
    return await page.locator("td[data-label=Name] > a").all_inner_texts()
