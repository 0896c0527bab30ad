"""The record of an account's pace: tokens taken, who waits for one, the pause the vendor wants.

All who call with the account change one record, each time as one step, by the clock of the state.
Whatever stands in it counts for a limited time, so that a damaged one holds nobody up for longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import structlog


#: A vendor that asks for a longer pause is not taken at its word.
MAX_PAUSE_SECONDS = 3600.0

#: A token comes back so long after it was taken.
MINUTE_SECONDS = 60.0

#: Who is not back so long after a token may have come for it has lost its place.
GRACE_SECONDS = 1.0

#: When to ask again if the tokens there are belong to others.
ASK_AGAIN_SECONDS = 0.1

#: Tokens are counted by the quarter of a second, rounded up, so that the largest budget makes no
#: large record.
_SLOTS = 4

#: Nobody keeps a place for longer.
_LONGEST_PLACE_SECONDS = MINUTE_SECONDS + GRACE_SECONDS + 1 / _SLOTS

#: A budget as large as this is none.
LARGEST_BUDGET = 10**9

Count = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_BUDGET)]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The pace of an account; times are seconds of the state's clock.

    Attributes:
        taken: The tokens of the last minute, by quarters of a second.
        budgets: When each budget was used last; the smallest of the last minute holds in sum.
        waiting: By participant, since when it waits for a token and when it has lost its place.
        pause_until: Until when the vendor wants no calls.
    """

    version: Literal[1] = 1
    taken: dict[int, Count] = {}
    budgets: dict[Count, float] = {}
    waiting: dict[str, tuple[float, float]] = {}
    pause_until: float = 0.0

    def pause_seconds(self, now: float) -> float:
        """Return how long the pause still lasts; a longer one than there can be is none."""
        left = self.pause_until - now
        return left if 0.0 < left <= MAX_PAUSE_SECONDS else 0.0


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A participant that wants a token.

    Attributes:
        budget: The most tokens within a minute.
        members: With how many the budget is divided, since nobody knows what the others take; 0
            while the record tells.
        since: When it asked first, `None` if it does now.
        known: The tokens that it has seen in the record. They are added where the record lacks
            them: it was lost, or is a new one after a change of the credentials.
        own: The tokens that it took itself.
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
        wait_seconds: After how long to ask again; 0: a token was taken.
        pause_seconds: How long the pause still lasts.
        wish: What to ask with the next time.
    """

    now: float
    wait_seconds: float
    pause_seconds: float
    wish: Wish


def decoded(content: bytes | None) -> Record | None:
    """Return a record, an empty one if there is none, `None` if it cannot be read."""
    try:
        return Record() if content is None else msgspec.msgpack.decode(content, type=Record)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def take(content: bytes | None, now: float, *, wish: Wish) -> tuple[bytes, Answer]:
    """Take a token if there is one that nobody else waits for longer: a change of the record."""
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
    # With more members than tokens, a token comes back later instead.
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
        # No place is kept for who could not take a token now.
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
    """Begin or prolong the pause: a change of the record."""
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
    """Return the tokens that are not back yet; those of the future count as taken now."""
    oldest, newest = (now - back_seconds) * _SLOTS, math.ceil(now * _SLOTS)
    counting = {slot: count for slot, count in taken.items() if oldest < slot <= newest}
    if len(counting) < len(taken) and (ahead := [taken[slot] for slot in taken if slot > newest]):
        counting[newest] = min(counting.get(newest, 0) + sum(ahead), LARGEST_BUDGET)
    return counting


def _full_seconds(
    taken: Mapping[int, int], limit: int, now: float, back_seconds: float = MINUTE_SECONDS
) -> float:
    """Return after how long fewer tokens than the limit are taken."""
    out, wait = sum(taken.values()), 0.0
    for slot in sorted(taken):
        if out < limit:
            break
        out -= taken[slot]
        wait = slot / _SLOTS + back_seconds - now
    return wait
