from __future__ import annotations

import pytest

from tests.web.fakes import FakeView, browsing


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_request_reloads(method: str) -> None:
    """A deployment tool triggers the reload and learns that it worked."""
    view = FakeView()

    async with browsing(view, lifecycle=True) as browser:
        answer = await browser.request(method, "/-/reload")

    assert (200, "reloaded\n") == (answer.status_code, answer.text)
    assert 1 == view.reloads


async def test_mistakes_are_answered_one_a_line() -> None:
    """Whoever triggered it must see what to mend, and that nothing changed."""
    view = FakeView()
    view.mistakes = ("sources[0].url: is missing", "webb: unknown key")

    async with browsing(view, lifecycle=True) as browser:
        answer = await browser.post("/-/reload")

    assert 500 == answer.status_code
    assert [
        "The old configuration stays in use.",
        "configuration: sources[0].url: is missing",
        "configuration: webb: unknown key",
    ] == answer.text.splitlines()


async def test_it_is_off_unless_switched_on() -> None:
    """Not everybody who can scrape may restart sources."""
    view = FakeView()

    async with browsing(view) as browser:
        answer = await browser.post("/-/reload")

    assert 403 == answer.status_code
    assert "--web.enable-lifecycle" in answer.text
    assert 0 == view.reloads


async def test_reading_does_not_reload() -> None:
    """A crawler or a link preview must not trigger anything."""
    view = FakeView()

    async with browsing(view, lifecycle=True) as browser:
        answer = await browser.get("/-/reload")

    assert 405 == answer.status_code
    assert 0 == view.reloads
