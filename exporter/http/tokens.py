"""The record of an account's pace: taken tokens, waiting participants, and the vendor's pause.

All processes that call with the account change one record of the state, atomically and by the
state's clock. Every entry counts for a limited time, so that a damaged record delays calls only for
that time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import structlog


#: The longest pause; if the vendor asks for a longer one, the exporter waits for this long.
MAX_PAUSE_SECONDS = 3600.0

#: A token comes back this long after it was taken.
MINUTE_SECONDS = 60.0

#: A participant that does not take its token for this long loses its place in the queue.
GRACE_SECONDS = 1.0

#: Seconds until the next try if the free tokens belong to participants that have waited longer.
ASK_AGAIN_SECONDS = 0.1

#: Tokens are counted per quarter of a second, rounded up, so that a large budget needs no large
#: record.
_SLOTS = 4

#: The longest time that a place in the queue is kept.
_LONGEST_PLACE_SECONDS = MINUTE_SECONDS + GRACE_SECONDS + 1 / _SLOTS

#: The largest budget; in practice it means no limit.
LARGEST_BUDGET = 10**9

Count = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_BUDGET)]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The pace of an account; times are seconds of the state's clock.

    Attributes:
        taken: The number of tokens taken in the last minute, by quarters of a second.
        budgets: When each budget was last used; the smallest of the last minute applies to all.
        waiting: For each waiting participant, since when it waits and when it loses its place.
        pause_until: The end of the pause that the vendor asked for.
    """

    version: Literal[1] = 1
    taken: dict[int, Count] = {}
    budgets: dict[Count, float] = {}
    waiting: dict[str, tuple[float, float]] = {}
    pause_until: float = 0.0

    def pause_seconds(self, now: float) -> float:
        """Return the rest of the pause in seconds; 0 for a damaged record with a longer one."""
        left = self.pause_until - now
        return left if 0.0 < left <= MAX_PAUSE_SECONDS else 0.0


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A participant's request for a token.

    Attributes:
        budget: The most tokens within a minute.
        members: The number of processes that divide the budget while they do not share the record;
            0 while they share it.
        since: When the participant first asked; `None` if it asks for the first time now.
        known: The tokens that the participant has seen in the record. They are added if the record
            lacks them, because it was lost or is new after a change of the credentials.
        own: The tokens that the participant itself has taken.
    """

    participant: str
    budget: int
    members: int = 0
    since: float | None = None
    known: Mapping[int, int] = {}
    own: Mapping[int, int] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a participant.

    Attributes:
        wait_seconds: Seconds until the next try; 0 if a token was taken.
        pause_seconds: The rest of the pause.
        wish: The participant's next request.
    """

    now: float
    wait_seconds: float
    pause_seconds: float
    wish: Wish


def decoded(content: bytes | None) -> Record | None:
    """Return the record in a document: empty without a document, `None` if it is damaged."""
    try:
        return Record() if content is None else msgspec.msgpack.decode(content, type=Record)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def take(content: bytes | None, now: float, *, wish: Wish) -> tuple[bytes, Answer]:
    """Take a token, if one is free and no participant has waited longer for it.

    Args:
        content: The record.
        now: The state's clock.
        wish: The participant's request.

    Returns:
        The changed record, and the answer.
    """
    record = _readable(content)
    me, pause = wish.participant, record.pause_seconds(now)
    taken = _counting(record.taken, now)
    for slot, count in _counting(wish.known, now).items():
        if taken.get(slot, 0) < count:
            taken[slot] = count
    budgets = {
        budget: used
        for budget, used in record.budgets.items()
        if now - MINUTE_SECONDS < used <= now
    } | {wish.budget: now}
    waiting = {
        name: place
        for name, place in record.waiting.items()
        if name != me and now < place[1] <= now + _LONGEST_PLACE_SECONDS
    }
    # With more members than tokens, each member has one token, which comes back later.
    part = max(1, wish.budget // max(1, wish.members))
    back = MINUTE_SECONDS * max(1.0, wish.members / wish.budget)
    own = _counting(wish.own, now, back)
    since = now if wish.since is None else min(now, wish.since)
    ahead = sum((begun, name) < (since, me) for name, (begun, _) in waiting.items())

    wait = _full_seconds(taken, min(budgets), now)
    if not wait and min(budgets) - sum(taken.values()) <= ahead:
        wait = ASK_AGAIN_SECONDS
    divided = _full_seconds(own, part, now, back) if wish.members else 0.0
    if pause or divided:
        # A participant that may not take a token now gets no place in the queue.
        wait = max(pause, divided)
    elif wait:
        waiting[me] = since, now + wait + GRACE_SECONDS
    else:
        slot = math.ceil(now * _SLOTS)
        taken[slot] = taken.get(slot, 0) + 1
        own[slot] = own.get(slot, 0) + 1
    changed = Record(
        taken=taken,
        budgets=budgets,
        waiting=waiting,
        pause_until=record.pause_until if pause else 0.0,
    )
    following = msgspec.structs.replace(wish, since=since if wait else None, known=taken, own=own)
    answer = Answer(now=now, wait_seconds=wait, pause_seconds=pause, wish=following)
    return msgspec.msgpack.encode(changed), answer


def pause(content: bytes | None, now: float, *, seconds: float) -> tuple[bytes, None]:
    """Return the record with a pause of at least some seconds from now."""
    record = _readable(content)
    until = now + max(seconds, record.pause_seconds(now))
    return msgspec.msgpack.encode(msgspec.structs.replace(record, pause_until=until)), None


def _readable(content: bytes | None) -> Record:
    record = decoded(content)
    if record is None:
        structlog.get_logger("exporter.http").warning(
            "pace_forgotten", message="the record is damaged or of another version"
        )
    return record or Record()


def _counting(
    taken: Mapping[int, int], now: float, back_seconds: float = MINUTE_SECONDS
) -> dict[int, int]:
    """Return the tokens that have not come back; tokens with a future time count as taken now."""
    oldest, newest = (now - back_seconds) * _SLOTS, math.ceil(now * _SLOTS)
    counting = {slot: count for slot, count in taken.items() if oldest < slot <= newest}
    if len(counting) < len(taken) and (ahead := [taken[slot] for slot in taken if slot > newest]):
        counting[newest] = min(counting.get(newest, 0) + sum(ahead), LARGEST_BUDGET)
    return counting


def _full_seconds(
    taken: Mapping[int, int], limit: int, now: float, back_seconds: float = MINUTE_SECONDS
) -> float:
    """Return the seconds until fewer tokens than the limit are taken."""
    out, wait = sum(taken.values()), 0.0
    for slot in sorted(taken):
        if out < limit:
            break
        out -= taken[slot]
        wait = slot / _SLOTS + back_seconds - now
    return wait
