"""The runs of a workspace, read from its list page by page and no farther than needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.sources.blazemeter.client import PAGE
from exporter.sources.blazemeter.masters import read_master


if TYPE_CHECKING:
    from exporter.sources.blazemeter.client import BlazeMeterClient
    from exporter.sources.blazemeter.masters import MasterRow
    from exporter.sources.blazemeter.replies import MastersReply
    from exporter.sources.decode import Surprised


#: So many pages are read at most in one poll of a workspace: 1,000 runs.
PAGES = 20


async def read_masters(
    client: BlazeMeterClient, workspace: int, *, back_to: float, surprise: Surprised
) -> tuple[MasterRow, ...]:
    """Read the runs of a workspace, the newest changed first.

    The list has no filter for runs in flight, and its `total` can be "n/a" (reference section
    B2). Reading ends with a short page, with a page whose runs had all ended by then, or after
    `PAGES` pages.

    Args:
        client: Sends the calls.
        workspace: The id of the workspace.
        back_to: Epoch seconds; nothing that ended before is news.
        surprise: Called for each value that did not fit.

    Raises:
        PollError: A page could not be read.
    """
    rows: dict[str, MasterRow] = {}
    skip = 0
    for _ in range(PAGES):
        reply = await client.masters({"workspaceId": workspace}, skip=skip)
        masters = reply.result or ()
        page = [row for master in masters if (row := read_master(master, surprise)) is not None]
        for row in page:
            # Runs move down while new ones come in: on the next page is the older description.
            rows.setdefault(row.run_id, row)
        skip += len(masters)
        old = all(row.ended is not None and row.ended < back_to for row in page)
        if old or len(masters) < _size_of_page(reply):
            break
    return tuple(rows.values())


def _size_of_page(reply: MastersReply) -> float:
    """Return how many rows a full page has: the vendor may give fewer than were asked for."""
    limit = reply.limit
    return limit if limit is not None and 1 <= limit < PAGE else PAGE
