from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import CallError, Reason
from exporter.sources.blazemeter.client import NotFoundError
from exporter.sources.blazemeter.pages import MOST_PAGES, Pages, read_pages
from exporter.sources.blazemeter.replies import ListReply


if TYPE_CHECKING:
    from collections.abc import Callable


class Server:
    """A server's list, of the items "0", "1", ….

    Args:
        number: The number of its items.
        cap: The largest page, whatever was asked for.
        limit: The page size in the reply.
        skips: Whether it obeys `skip`.
        total: The number of items in the reply.
        hidden: The number in the reply of items that the key may not see.
        on_call: Called before each page.
    """

    def __init__(
        self,
        number: int,
        *,
        cap: int = 1000,
        limit: float | None = None,
        skips: bool = True,
        total: Any = None,
        hidden: Any = None,
        on_call: Callable[[Server], None] = lambda _: None,
    ) -> None:
        self.items = [str(each) for each in range(number)]
        self.skips: list[int] = []
        self._cap, self._limit, self._turns, self._on_call = cap, limit, skips, on_call
        self._total, self._hidden = total, hidden

    async def read(self, skip: int) -> ListReply[str]:
        """Give a page; a total of "true" is the number of the items as it is now."""
        self._on_call(self)
        self.skips.append(skip)
        first = skip if self._turns else 0
        return ListReply(
            result=tuple(self.items[first : first + self._cap]),
            limit=self._limit,
            total=len(self.items) if self._total == "true" else self._total,
            hidden=self._hidden,
        )

    async def pages(self, **options: Any) -> Pages[str]:
        """Read the list."""
        return await read_pages(self.read, key=lambda item: item or None, **options)


#: Page sizes that a server may report: none, the real one, or the requested one.
LIMITS: list[Callable[[int], float | None]] = [lambda _: None, float, lambda _: 1000.0]


@given(
    number=st.integers(0, 180),
    cap=st.integers(1, 120),
    limit=st.sampled_from(LIMITS),
    skips=st.booleans(),
    total=st.sampled_from(["true", "n/a", None, -1, 0.5]),
)
def test_no_item_is_missing_without_a_word(
    number: int, cap: int, limit: Callable[[int], float | None], skips: bool, total: Any
) -> None:
    """A server's list must be read whole, or be known to be short or cut.

    Only one that caps its pages below 50 items and tells neither that nor a total is beyond help.
    """
    server = Server(number, cap=cap, limit=limit(cap), skips=skips, total=total)

    pages = asyncio.run(server.pages())

    told = total == "true" or limit(cap) == cap or cap >= 50
    if not pages.short and not pages.cut and told:
        assert server.items == list(pages.items)
    assert len(pages.items) == len(set(pages.items))
    assert len(server.skips) <= MOST_PAGES


@given(number=st.integers(0, 180), cap=st.integers(2, 120), total=st.sampled_from(["true", "n/a"]))
def test_an_honest_server_is_believed(number: int, cap: int, total: str) -> None:
    """With the documented envelope the list is whole, and no page is asked for in vain."""
    server = Server(number, cap=cap, limit=cap, total=total)

    pages = asyncio.run(server.pages())

    assert Pages(items=tuple(server.items)) == pages
    assert len(server.skips) <= number // min(cap, 50) + 1


class TestEnd:
    async def test_is_where_the_total_is_reached(self) -> None:
        """No further page is asked for, although the last one was full."""
        server = Server(100, cap=50, total="true")

        assert Pages(items=tuple(server.items)) == await server.pages()
        assert [0, 50] == server.skips

    async def test_is_a_short_page_without_a_total(self) -> None:
        """A page that is not full must end a list without a total."""
        server = Server(49, total="n/a")

        assert Pages(items=tuple(server.items)) == await server.pages()
        assert [0] == server.skips

    async def test_is_not_a_total_that_is_exceeded(self) -> None:
        """A total below what was listed already is no total."""
        server = Server(63, cap=50, total=10)

        assert Pages(items=tuple(server.items)) == await server.pages()

    async def test_is_where_there_is_no_further_page(self) -> None:
        """A 404 behind the first page is one."""
        server = Server(50, cap=50, total=63)

        async def read(skip: int) -> ListReply[str]:
            if skip:
                raise NotFoundError(Reason.HTTP_4XX, "no such item", status=404)
            return await server.read(skip)

        pages = await read_pages(read, key=str)

        assert Pages(items=tuple(server.items), short=True) == pages

    async def test_is_chosen_by_the_reader(self) -> None:
        """A list that the reader stopped because it had enough must be neither short nor cut."""
        server = Server(200, cap=50, total="true")

        pages = await server.pages(enough=lambda page: "70" in page)

        assert Pages(items=tuple(server.items[:100])) == pages

    async def test_is_a_bound_at_the_latest(self) -> None:
        """A list that goes on is cut."""
        server = Server(200, cap=50, total="true")

        pages = await server.pages(most=2)

        assert Pages(items=tuple(server.items[:100]), cut=True) == pages


class TestShort:
    @pytest.mark.parametrize("total", [63, "n/a"])
    async def test_is_a_list_whose_pages_repeat(self, total: Any) -> None:
        """The server ignores `skip`: a second page that is the first one ends the reading."""
        server = Server(63, cap=50, skips=False, total=total)

        assert Pages(items=tuple(server.items[:50]), short=True) == await server.pages()
        assert [0, 50] == server.skips

    async def test_is_a_list_below_its_total(self) -> None:
        """An early end is not believed."""
        server = Server(2, total=3)

        assert Pages(items=("0", "1"), short=True) == await server.pages()

    @pytest.mark.parametrize(("hidden", "short"), [(1, False), (0, True), (None, True)])
    async def test_is_not_one_with_hidden_items(self, hidden: Any, short: bool) -> None:
        """A total that counts items hidden from this key must not make the list short."""
        server = Server(62, cap=50, total=63, hidden=hidden)

        assert short is (await server.pages()).short

    async def test_is_no_reason_to_stop_early(self) -> None:
        """Hidden items that the total does not count hide no other ones."""
        server = Server(63, cap=50, total="true", hidden=13)

        assert Pages(items=tuple(server.items)) == await server.pages()


class TestMoves:
    async def test_down_bring_nothing_twice(self) -> None:
        """A new item pushes another one to the next page, where it is known already."""
        server = Server(63, cap=50, total="true", on_call=_insert_before_second)

        pages = await server.pages()

        assert len(pages.items) == len(set(pages.items))
        assert {str(each) for each in range(63)} <= set(pages.items)

    async def test_up_are_noticed(self) -> None:
        """An item missed because of a deletion must make the list short."""
        server = Server(63, cap=50, total="true", on_call=_delete_before_second)

        assert (await server.pages()).short

    async def test_of_items_without_an_id_are_not_told(self) -> None:
        """Items without an id must be kept, and not end the reading."""
        server = Server(3, total="true")
        server.items = ["", "1", ""]

        assert Pages(items=("", "1", "")) == await server.pages()


@pytest.mark.parametrize(("page", "type_"), [(0, NotFoundError), (50, CallError)])
async def test_an_error_is_not_the_end(page: int, type_: type[CallError]) -> None:
    """A list that does not exist is no empty one, nor is a page that cannot be read."""
    server = Server(100, cap=50, total="true")

    async def read(skip: int) -> ListReply[str]:
        if skip == page:
            raise type_(Reason.HTTP_5XX, "no")
        return await server.read(skip)

    with pytest.raises(CallError, match="no"):
        await read_pages(read, key=str)


def _insert_before_second(server: Server) -> None:
    if len(server.skips) == 1:
        server.items.insert(0, "new")


def _delete_before_second(server: Server) -> None:
    if len(server.skips) == 1:
        del server.items[3]
