"""Grafana's panels in Chromium: the packages they come in, and a page that draws a dashboard."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.browser.support import browsing
from tests.grafana.history import END, STEP_SECONDS


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Route, ViewportSize


HERE = Path(__file__).parent

#: Sources copied beside the packages, where the bundler looks for them.
_SOURCES = ("package.json", "panels.tsx", "squeeze.mjs")

#: A window large enough for a whole dashboard: tables draw visible rows only.
_SIZE: ViewportSize = {"width": 1440, "height": 6000}


class Fault(NamedTuple):
    """A defect of a dashboard's panel."""

    uid: str
    panel: str
    reason: str

    def __str__(self) -> str:
        return f"{self.uid}: {self.panel}: {self.reason}"


class Drawn(NamedTuple):
    """The result of rendering a dashboard.

    Attributes:
        rendered, missing: Panels with their types, drawn or not on npm.
        faults: The faults.
    """

    rendered: list[str]
    missing: list[str]
    faults: list[Fault]


def default_folder() -> Path:
    """Return the folder of this user's packages."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "loadfleet-panels"


def prepare(folder: Path) -> None:
    """Install the packages of the lock into a folder, unless they are there, and bundle the page.

    Raises:
        subprocess.CalledProcessError: npm failed, with a message on stderr.
        FileNotFoundError: There is no npm.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, installed = HERE / "package-lock.json", folder / "package-lock.json"
    for name in _SOURCES:
        shutil.copy(HERE / name, folder)
    if not (installed.exists() and filecmp.cmp(lock, installed, shallow=False)):
        # Its scripts are not needed: the binaries are packages of their own.
        shutil.copy(lock, folder / "package-lock.json")
        try:
            _npm(folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        except subprocess.CalledProcessError:
            # Removed, so that the next attempt does not take it as installed.
            installed.unlink()
            raise
    _npm(folder, "run", "bundle")


def squeeze(folder: Path, *pictures: Path) -> None:
    """Make PNG files small."""
    _npm(folder, "run", "squeeze", "--", *(str(path.absolute()) for path in pictures))


def _npm(folder: Path, *arguments: str) -> None:
    subprocess.run(["npm", "--silent", *arguments], cwd=folder, check=True)


class Canvas:
    """A browser beside a Prometheus."""

    def __init__(self, browser: Browser, url: str, packages: Path, span_seconds: int) -> None:
        self._browser = browser
        self._url = url
        self._packages = packages
        self._span_seconds = span_seconds

    async def draw(
        self, dashboard: dict[str, Any], *, mode: str = "light", picture: Path | None = None
    ) -> Drawn:
        """Draw a dashboard and check it.

        Args:
            dashboard: The content of its JSON file.
            mode: `light` or `dark`.
            picture: The path of its PNG.
        """
        context = await self._browser.new_context(viewport=_SIZE)
        try:
            page = await context.new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            # Some cells say how long ago something was.
            await page.clock.set_fixed_time(END)
            await page.route("**/*.woff2", self._font)
            await page.route("**/img/icons/**", self._icon)
            # A page of the same origin as the answers, which the browser then allows.
            await page.goto(f"{self._url}/-/healthy")
            await page.set_content("<!doctype html><style>body { margin: 0 }</style>")
            await page.add_style_tag(path=self._packages / "panels.css")
            await page.add_script_tag(path=self._packages / "panels.js")
            wanted = {
                "dashboard": dashboard,
                "mode": mode,
                "now": END,
                "span": self._span_seconds,
                "step": STEP_SECONDS,
            }
            names = await page.evaluate("wanted => draw(wanted)", wanted)
            found = await page.evaluate("inspect()")
            if picture is not None:
                await page.locator("#root > div").screenshot(path=picture)
        finally:
            await context.close()
        uid = dashboard["uid"]
        faults = [Fault(uid, each["panel"], each["fault"]) for each in found]
        faults += [Fault(uid, "the whole page", error) for error in errors]
        return Drawn(names["rendered"], names["missing"], faults)

    async def _font(self, route: Route) -> None:
        """Answer with the fonts that Grafana's server would serve: widths depend on them."""
        url = route.request.url
        family = "roboto-mono" if "/roboto/" in url else "inter"
        weight = 500 if "Medium" in url else 400
        folder = self._packages / "node_modules" / "@fontsource" / family / "files"
        await route.fulfill(path=folder / f"{family}-latin-{weight}-normal.woff2")

    async def _icon(self, route: Route) -> None:
        """Answer with the icons of the packages: they take room beside titles."""
        _, _, path = route.request.url.partition("/img/icons/")
        folder = self._packages / "node_modules" / "@grafana" / "ui" / "dist" / "public"
        await route.fulfill(path=folder / "img" / "icons" / path)


@asynccontextmanager
async def canvas(url: str, packages: Path, *, span_seconds: int) -> AsyncIterator[Canvas]:
    """Start a browser.

    Args:
        url: The URL of Prometheus.
        packages: The prepared folder.
        span_seconds: The time range of all dashboards, which ends with the history.
    """
    async with browsing() as browser:
        yield Canvas(browser, url, packages, span_seconds)
