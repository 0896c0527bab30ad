"""Settings of the history: how long and where it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from exporter.config.types import FilePath, Interval, Size
from exporter.config.validation import Mistake, Section


if TYPE_CHECKING:
    from collections.abc import Iterator


#: The least value of `keep`, since the shortest span that pages show is a day.
SHORTEST_SECONDS = 86_400.0


class HistorySettings(Section):
    """The history of the targets, in a file of this exporter alone.

    Attributes:
        keep: How long records are kept, at least a day; `off` keeps no history.
        path: The folder of the file `history.db`; by default the folder of the state.
        max_bytes: The largest size of the file. When the file reaches it, the oldest day is
            deleted.
    """

    keep: Interval = 30 * 86_400.0
    path: FilePath | None = None
    max_bytes: Annotated[Size, Field(ge=2**20)] = 2**30

    def mistakes(self) -> Iterator[Mistake]:
        """Yield the mistakes in the combination of fields."""
        if self.keep is not None and self.keep < SHORTEST_SECONDS:
            yield Mistake(("keep",), "is shorter than a day; write 1d or more, or off")
