"""Log records that repeat are told once a minute, with their count.

The first record of a fact is told at once. Those that follow within a minute are counted, and
when it is over the last of them is told, so that the log ends with how things are.
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


#: For how long a fact is not told again.
WINDOW_SECONDS = 60.0

#: So many facts of one event and source are told in a window: a poll names 50 targets that
#: changed, and a fleet has thousands. Of the others the last is told with their number.
MAX_FACTS = 100

#: So many facts are remembered. Beyond that the oldest is told before its window is over.
MAX_REMEMBERED = 5_000

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")

_OTHERS = "others"


class _Fact(msgspec.Struct):
    """A fact that was told.

    Attributes:
        until: The end of its window, monotonic seconds.
        field: What the number of records is called.
        count: So many records came since it was told.
        last: The newest of them.
    """

    until: float
    field: str
    count: int = 0
    last: logging.LogRecord | None = None


class Repeats:
    """Finds the records that are to be told; not for several threads at once."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Remember nothing yet.

        Args:
            monotonic: The clock.
        """
        self._monotonic = monotonic
        self._facts: dict[tuple[str, int], _Fact] = {}  # in the order of `until`
        self._sizes: Counter[str] = Counter()

    def take(self, record: logging.LogRecord) -> Iterator[logging.LogRecord]:
        """Yield what is to be told now that a record has come."""
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
        """Return the records whose window is over, by their age; a new window begins."""
        now = self._monotonic()
        over = []
        for key, fact in self._facts.items():
            if fact.until > now:
                break
            over.append(key)
        repeated = {key: self._facts[key].field for key in over if self._facts[key].count}
        told = self._end(over)
        for key, field in repeated.items():
            self._facts[key] = _Fact(until=now + WINDOW_SECONDS, field=field)
            self._sizes[key[0]] += 1
        return told

    def rest(self) -> list[logging.LogRecord]:
        """Return all that was not told yet, by age, and forget everything."""
        return self._end(list(self._facts))

    def _end(self, keys: Iterable[tuple[str, int]]) -> list[logging.LogRecord]:
        told = []
        for key in keys:
            fact = self._facts.pop(key)
            self._sizes[key[0]] -= 1
            if not self._sizes[key[0]]:
                del self._sizes[key[0]]
            if fact.last is not None:
                told.append(_counted(fact.last, fact.field, fact.count))
        return sorted(told, key=attrgetter("created"))


def _identity(record: logging.LogRecord) -> tuple[str, int]:
    """Return the event of a record, and a number for the fact it tells.

    Of our own events every field tells facts apart but numbers, which are measured. Of a library's
    only the first line of the text does, without its numbers, which are of sockets and tasks.
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
    """Return a record with a count, and without the traceback that was told with the first."""
    told = copy.copy(record)
    if isinstance(record.msg, dict):
        told.msg = {key: value for key, value in record.msg.items() if key != "exception"}
        told.msg[field] = count
    else:
        told.msg, told.args = record.getMessage(), None
        setattr(told, field, count)
    told.exc_info = told.exc_text = None
    return told
