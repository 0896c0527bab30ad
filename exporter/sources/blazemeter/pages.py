"""Lists that come in pages: read to their end, or known to be cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from exporter.sources.blazemeter.client import PAGE, NotFoundError
from exporter.sources.blazemeter.replies import ListReply
from exporter.sources.decode import finite


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable


T = TypeVar("T")

#: So many pages are read of a list at most: 1,000 items in the smallest pages that are known.
MOST_PAGES = 100


class Pages(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list that was read page by page.

    Attributes:
        items: Each once, in the order of the list.
        short: Whether the vendor gave fewer than there are, or may have.
        cut: Whether there are more pages than were to be read.
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
    """Read a list to its end.

    With a whole-number `total` the end is where so many items were read. Without one, or with one
    that the items exceed, it is the first page that is not full; since a server may cap its pages
    without a word, `PAGE` items always are a full one.

    The list is short if a page brings nothing new although there should be more (the server
    ignores `skip`), or if there is no further page before the total is reached. The items that are
    `hidden` from this key excuse the latter: the total may count them.

    Args:
        read: Reads the page that begins at the item of this number.
        key: Returns what tells an item from others; `None` where the vendor gave nothing.
        enough: Whether after a page of these items no further one is wanted.
        most: So many pages are read at most.

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
            # Items move down while new ones come in: what was read first of one is the newest.
            if each is None or each not in seen:
                items.append(item)
            seen.add(each)
        # They move up, past the end of a page, when one is deleted: the largest total counts.
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
    """Read a page; one that does not exist is empty."""
    try:
        return await reading
    except NotFoundError:
        return ListReply()


def _whole(number: float | str | None) -> int | None:
    """Return a count, `None` for a number that is none and for the text "n/a"."""
    value = None if isinstance(number, str) else finite(number)
    return int(value) if value is not None and value >= 0 and value.is_integer() else None
