from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web.streaming import SLICE_BYTES, SlicedResponse, slices


if TYPE_CHECKING:
    from collections.abc import Sequence


@given(
    st.lists(
        st.integers(0, 3) | st.sampled_from([SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES * 2 + 1]),
        max_size=8,
    )
)
def test_nothing_is_lost_and_no_slice_is_too_large(sizes: Sequence[int]) -> None:
    """Whatever the parts' sizes, the slices are the same bytes in the same order."""
    parts = [bytes([number]) * size for number, size in enumerate(sizes)]

    cut = list(slices(parts))

    assert b"".join(parts) == b"".join(cut)
    assert all(len(piece) <= SLICE_BYTES for piece in cut)


def test_small_parts_are_sent_together() -> None:
    """Thousands of pieces of a page must not become thousands of writes."""
    assert [b"abc" * 1000] == list(slices([b"abc"] * 1000))


def test_large_parts_are_not_copied() -> None:
    """A page that is sent to many at once is in the memory once."""
    page = b"x" * (SLICE_BYTES + 1)

    first, second = slices([page])

    assert isinstance(first, memoryview)
    assert isinstance(second, memoryview)
    assert page is first.obj is second.obj


@pytest.mark.parametrize(("method", "body"), [("GET", b"abcdef"), ("HEAD", b"")])
async def test_answers_like_any_other(method: str, body: bytes) -> None:
    """Length and headers are as if the body had been in one part."""
    response = SlicedResponse([b"abc", b"def"], {"Content-Type": "text/plain"})
    transport = httpx.ASGITransport(response)

    async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
        answer = await client.request(method, "/")

    assert (200, body) == (answer.status_code, answer.content)
    assert ("text/plain", "6") == (
        answer.headers["content-type"],
        answer.headers["content-length"],
    )
