"""Settings of the history: for how long it is kept, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from exporter.config.types import FilePath, Interval, Size
from exporter.config.validation import Mistake, Section


if TYPE_CHECKING:
    from collections.abc import Iterator


#: Less than a day would leave nothing to compare with.
SHORTEST_SECONDS = 86_400.0


class HistorySettings(Section):
    """The history of the targets, in a file that each exporter has for itself.

    Attributes:
        keep: For how long, at least a day; `off` keeps none.
        path: The folder of the file `history.db`; that of the state if not given.
        max_bytes: The file's largest size; where it is reached the oldest day goes first.
    """

    keep: Interval = 30 * 86_400.0
    path: FilePath | None = None
    max_bytes: Annotated[Size, Field(ge=2**20)] = 2**30

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        if self.keep is not None and self.keep < SHORTEST_SECONDS:
            yield Mistake(("keep",), "is shorter than a day; write 1d or more, or off")
