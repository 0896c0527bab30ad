"""Reading of lists that come in pages, and detection of lists that end too early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from exporter.sources.blazemeter.client import PAGE, NotFoundError
from exporter.sources.blazemeter.replies import ListReply
from exporter.sources.decode import finite


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable


T = TypeVar("T")

#: The largest number of pages read of a list: 1,000 items in the smallest known pages of 10.
MOST_PAGES = 100


class Pages(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list that was read page by page.

    Attributes:
        items: The items in the order of the list, each once.
        short: Whether the vendor returned fewer items than the list has, or may have done so.
        cut: Whether reading stopped at the largest number of pages.
    """

    items: tuple[T, ...]
    short: bool = False
    cut: bool = False


async def read_pages(
    read: Callable[[int], Awaitable[ListReply[T]]],
    *,
    key: Callable[[T], Hashable | None],
    enough: Callable[[tuple[T, ...]], bool] = lambda _: False,
    most: int = MOST_PAGES,
) -> Pages[T]:
    """Return the items of a list, read to its end.

    If `total` is a whole number, the list ends when that many items have been read. If `total` is
    missing, or smaller than the number of items, the list ends with the first page that is not
    full. A page of `PAGE` items is full in any case, because a server may cap its pages silently.

    The list is short if a page has no new items although the end is not reached (the server ignores
    `skip`), or if the pages end before the total. In the second case, items that are `hidden` from
    this key are added to those read, because the total may count them.

    Args:
        read: Reads the page that begins at the item of this number.
        key: Returns the identity of an item, or `None` if it has none.
        enough: Returns true if no further page is needed after a page of these items.
        most: The largest number of pages to read.

    Raises:
        PollError: A page could not be read.
    """
    items: list[T] = []
    seen: set[Hashable] = set()
    total: int | None = None
    skip = hidden = 0
    for _ in range(most):
        reply = await (_or_nothing(read(skip)) if skip else read(skip))
        page = reply.result or ()
        skip += len(page)
        known = len(seen)
        for item in page:
            each = key(item)
            # New items shift others to later pages. If an item is read twice, the first is newest.
            if each is None or each not in seen:
                items.append(item)
            seen.add(each)
        # A deleted item shifts others to pages that were already read: the largest total counts.
        if (counted := _whole(reply.total)) is not None:
            total = max(counted, total or 0)
        hidden = _whole(reply.hidden) or hidden
        if enough(page) or len(items) == total:
            return Pages(items=tuple(items))
        if not page:
            return Pages(items=tuple(items), short=len(items) + hidden < (total or 0))
        if len(seen) == known:
            return Pages(items=tuple(items), short=True)
        full = len(page) >= min(_whole(reply.limit) or PAGE, PAGE)
        if not full and (total is None or len(items) > total):
            return Pages(items=tuple(items))
    return Pages(items=tuple(items), cut=True)


async def _or_nothing(reading: Awaitable[ListReply[T]]) -> ListReply[T]:
    """Return a page, or an empty one if the page does not exist."""
    try:
        return await reading
    except NotFoundError:
        return ListReply()


def _whole(number: float | str | None) -> int | None:
    """Return a count as an integer, or `None` if it is not a whole number, such as "n/a"."""
    value = None if isinstance(number, str) else finite(number)
    return int(value) if value is not None and value >= 0 and value.is_integer() else None
