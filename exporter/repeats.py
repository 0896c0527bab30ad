"""Rate limit for repeated log records: one a minute, with a count.

A fact is an event with its fields except numbers. The first record of a fact is written at once.
Further records of it within a minute are counted, and at the end of the minute the last of them
is written, so that the log ends with the current state.
"""

from __future__ import annotations

import copy
import logging
import re
import time
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


#: Records of the same fact are held back for this long.
WINDOW_SECONDS = 60.0

#: Maximum number of facts per event and source in a window. A fleet has thousands of targets, and
#: one poll names up to 50 that changed. Of the records beyond the limit the last is written, with
#: their number.
MAX_FACTS = 100

#: Maximum number of remembered facts. Beyond it, the oldest fact's window ends early.
MAX_REMEMBERED = 5_000

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")

_OTHERS = "others"


class _Fact(msgspec.Struct):
    """A fact whose first record was written.

    Attributes:
        until: End of its window, monotonic seconds.
        field: Name of the field that gets the count.
        count: Number of records held back since.
        last: The newest record held back.
    """

    until: float
    field: str
    count: int = 0
    last: logging.LogRecord | None = None


class Repeats:
    """Decides which records are written; not thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start without remembered facts.

        Args:
            monotonic: The monotonic clock.
        """
        self._monotonic = monotonic
        self._facts: dict[tuple[str, int], _Fact] = {}  # in the order of `until`
        self._sizes: Counter[str] = Counter()

    def take(self, record: logging.LogRecord) -> Iterator[logging.LogRecord]:
        """Yield the records to write now that `record` has come."""
        yield from self.due()
        event, fact = _identity(record)
        key, field = (event, fact), "repeated"
        if key not in self._facts and self._sizes[event] >= MAX_FACTS:
            key, field = (event, hash(_OTHERS)), _OTHERS
        known = self._facts.get(key)
        if known is None:
            if len(self._facts) >= MAX_REMEMBERED:
                yield from self._end([next(iter(self._facts))])
            self._facts[key] = _Fact(until=self._monotonic() + WINDOW_SECONDS, field=field)
            self._sizes[event] += 1
            yield record
            return
        known.count += 1
        known.last = record

    def due(self) -> list[logging.LogRecord]:
        """Return the held-back records whose window is over, oldest first; start new windows."""
        now = self._monotonic()
        over = []
        for key, fact in self._facts.items():
            if fact.until > now:
                break
            over.append(key)
        repeated = {key: self._facts[key].field for key in over if self._facts[key].count}
        written = self._end(over)
        for key, field in repeated.items():
            self._facts[key] = _Fact(until=now + WINDOW_SECONDS, field=field)
            self._sizes[key[0]] += 1
        return written

    def rest(self) -> list[logging.LogRecord]:
        """Return all held-back records, oldest first, and forget all facts."""
        return self._end(list(self._facts))

    def _end(self, keys: Iterable[tuple[str, int]]) -> list[logging.LogRecord]:
        written = []
        for key in keys:
            fact = self._facts.pop(key)
            self._sizes[key[0]] -= 1
            if not self._sizes[key[0]]:
                del self._sizes[key[0]]
            if fact.last is not None:
                written.append(_counted(fact.last, fact.field, fact.count))
        return sorted(written, key=attrgetter("created"))


def _identity(record: logging.LogRecord) -> tuple[str, int]:
    """Return the event of a record, and a hash of the fact it reports.

    In our own events, two facts differ if a field differs. Numbers are ignored, because they are
    measurements. In a library's records only the first line of the text counts, without its
    numbers, which identify sockets and tasks.
    """
    about = f"{record.name} {record.levelno}"
    fields = record.msg
    if isinstance(fields, dict):
        fact = [
            (key, str(value))
            for key, value in fields.items()
            if key not in ("ts", "exception") and type(value) not in (int, float)
        ]
        kind = str(fields.get("exception", "")).rstrip().rpartition("\n")[2].partition(":")[0]
        event = f"{about} {fields.get('event')} {fields.get('source', '')}"
        return event, hash((*fact, kind))
    text = _NUMBER.sub("0", record.getMessage().partition("\n")[0])
    kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
    return about, hash((text, kind))


def _counted(record: logging.LogRecord, field: str, count: int) -> logging.LogRecord:
    """Return a record with a count and without traceback, which the first record had."""
    written = copy.copy(record)
    if isinstance(record.msg, dict):
        written.msg = {key: value for key, value in record.msg.items() if key != "exception"}
        written.msg[field] = count
    else:
        written.msg, written.args = record.getMessage(), None
        setattr(written, field, count)
    written.exc_info = written.exc_text = None
    return written
