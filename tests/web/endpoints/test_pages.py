from __future__ import annotations

import asyncio

import pytest

from exporter.web.endpoints.pages import KEPT, Page, Pages


PAGE = Page(tag="a", plain=b"page")


class Renderer:
    """Renders when a test lets it, and counts how often it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = 0
        self.go = asyncio.Event()
        self.error = error

    async def render(self) -> Page:
        self.begun += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return PAGE


async def test_those_who_ask_meanwhile_wait_for_the_same_page() -> None:
    """Clients that ask for the same page at the same time must share one rendering."""
    pages, renderer = Pages(), Renderer()
    waiting = [asyncio.create_task(pages.get("key", renderer.render)) for _ in range(10)]
    await asyncio.sleep(0)

    renderer.go.set()
    found = await asyncio.gather(*waiting)

    assert 10 * [PAGE] == found
    assert 1 == renderer.begun


async def test_who_leaves_does_not_take_the_page_along() -> None:
    """A viewer who leaves must not cancel the page for others."""
    pages, renderer = Pages(), Renderer()
    first, second = (asyncio.create_task(pages.get("key", renderer.render)) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    renderer.go.set()

    assert PAGE == await second
    assert 1 == renderer.begun


async def test_a_failure_is_not_kept() -> None:
    """A page whose rendering failed must be rendered again for the next client."""
    pages, broken, sound = Pages(), Renderer(ValueError("no")), Renderer()
    broken.go.set()
    sound.go.set()
    with pytest.raises(ValueError, match="no"):
        await pages.get("key", broken.render)

    found = await pages.get("key", sound.render)

    assert PAGE == found


async def test_only_so_many_are_kept() -> None:
    """The number of kept pages must be bounded; the one used least recently goes."""
    pages, renderer = Pages(), Renderer()
    renderer.go.set()
    for number in range(KEPT):
        await pages.get(number, renderer.render)
    await pages.get(0, renderer.render)
    await pages.get("new", renderer.render)

    await pages.get(0, renderer.render)
    await pages.get(1, renderer.render)

    assert KEPT + 2 == renderer.begun
