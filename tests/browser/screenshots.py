"""Make the screenshots of the documents: `python -m tests.browser.screenshots`.

The demo runs for a while with a few events, so that the pages show something.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from random import Random

from tests.browser.support import Demo, browsing, demo, tab
from tests.support.wait import until


FOLDER = Path(__file__).parents[2] / "deploy" / "docs" / "pictures"

#: The number of readings in a line.
READINGS = 24

_AGENTS = range(41, 61)
_DOWN = "58"
_WIDE = {"width": 1440, "height": 1250}
_SCREEN = {"width": 1440, "height": 900}
_PHONE = {"width": 390, "height": 844}


async def live(fleet: Demo) -> None:
    """Let ping times vary from reading to reading, and one agent go down and another return."""
    chance = Random(5)  # noqa: S311 - repeatable, not secret
    base = {agent: chance.random() * 0.6 for agent in _AGENTS}
    read = 0.0
    for turn in range(READINGS):
        agents: dict[str, dict[str, object]] = {
            str(agent): {"jitter": base[agent] + 0.4 * chance.random() ** 3} for agent in _AGENTS
        }
        agents["49"] |= {"up": not 8 <= turn < 11}
        agents[_DOWN] |= {"up": turn < READINGS - 3}
        await fleet.control(change={"agents": agents})
        before = read

        async def polled(before: float = before) -> bool:
            nonlocal read
            for target in await fleet.api("targets"):
                if target["name"] == "bern-02":
                    read = target["read_timestamp_seconds"]
            return read > before

        await until(polled, timeout_seconds=60)


async def main() -> None:
    """Make all screenshots."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with browsing() as browser, demo(Path(folder)) as fleet:
            await live(fleet)
            agent = f"target?source=simulated-portal&kind=agent&id={_DOWN}"
            for name, path, size, scheme, scale in (
                ("board", "", _SCREEN, "light", 1),
                ("board-dark", "", _SCREEN, "dark", 1),
                ("target", agent, _WIDE, "light", 1),
                ("telephone", "", _PHONE, "light", 2),
                ("telephone-dark", "", _PHONE, "dark", 2),
                ("groups", "?group=source#groups", _SCREEN, "light", 1),
            ):
                async with tab(
                    browser, viewport=size, color_scheme=scheme, device_scale_factor=scale
                ) as page:
                    await page.goto(fleet.url + path)
                    await page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    asyncio.run(main())
