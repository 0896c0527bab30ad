from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.browser import support


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest
    from playwright.async_api import Browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Return a browser for all tests of a module; each test opens tabs of its own."""
    async with support.browsing() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[support.Demo]:
    """Return a demo for all tests of a module, if there is a browser."""
    async with support.demo(tmp_path_factory.mktemp("demo")) as found:
        yield found
