"""Calls that may have been refused, and the calls that clear them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.errors import CallError, Reason
from tests.support.portal import OWN, begin, end, ending


if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.clock import FakeClock
    from tests.support.participants import Participant
    from tests.support.portal import Portal

    Make = Callable[..., Participant]


LATE = CallError(Reason.TIMEOUT, "no reply in time")


async def test_an_accepted_call_clears_the_doubts_of_all_participants(participant: Make) -> None:
    """The same secret is good, so what was sent before was not refused."""
    one, other = participant(), participant()
    await one.calls()
    await one.calls(2, lost=LATE)
    before = one.guard.refusals

    await other.calls(2)

    assert (2, 0) == (before, other.guard.refusals)


async def test_one_sent_before_the_doubt_does_not(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """The token may have been revoked between the two."""
    one = participant()
    await one.calls()
    one.ping(there=0.1, back=5.0)
    await clock.advance(0.2)
    portal.accepted.clear()
    await one.calls(seconds=1.0, lost=LATE)
    await clock.advance(5.0)

    await one.calls(seconds=0.1)

    assert ["pong", "pong"] == [ending(task) for task in one.tasks[:2]]
    assert 1 == one.guard.refusals


async def test_one_with_another_secret_does_not(portal: Portal, participant: Make) -> None:
    """A success with another secret must not clear a doubt."""
    portal.accepted.add("b")
    one, other = participant(), participant(secret="b")
    await one.calls()
    await other.calls()
    await one.calls(2, seconds=1.0, lost=LATE)

    await other.calls(2)

    assert 2 == other.guard.refusals


async def test_one_sent_before_the_secret_changed_does_not(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """A success of a call sent with the old secret must not clear a doubt about the new one."""
    portal.accepted.add("b")
    changing, other = participant(), participant(secret="b")
    await changing.calls()
    await other.calls()
    await other.calls(seconds=1.0, lost=LATE)
    changing.ping(back=2.0)
    await clock.advance(0.1)
    changing.secret = "b"

    await clock.advance(5.0)

    assert 1 == changing.guard.refusals


async def test_a_doubt_is_about_the_secret_that_was_sent(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """The new secret is accepted later, which says nothing of the old one."""
    portal.accepted.add("b")
    changing, other = participant(), participant(secret="b")
    await changing.calls()
    await other.calls()
    changing.ping(back=1.0, lost=LATE)
    await clock.advance(0.1)
    changing.secret = "b"
    await clock.advance(2.0)

    endings = await changing.calls(2)

    assert ["pong"] * 2 == endings
    assert 1 == changing.guard.refusals


async def test_a_suspect_whose_secret_has_changed_stays_unclear(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """A suspect whose secret has changed must stay unclear, even if the new secret is accepted."""
    portal.accepted.add("b")
    changing, other = participant(proof_seconds=2.0), participant(secret="b")
    await other.calls()
    await changing.calls()
    (task,) = changing.ping(own=OWN)
    await clock.advance(0.3)
    changing.secret = "b"

    await clock.advance(10.0)

    assert "not sent: blocked" == ending(task)


async def test_suspects_and_doubts_share_the_room(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """A suspect that a proof has cleared leaves room for two calls and a proof."""
    one = participant()
    await one.calls()
    owns = iter([OWN, ""])
    await end(clock, begin(one.guard, lambda: portal.ping(own=next(owns)), 1), 10.0)
    portal.accepted.clear()

    await one.calls(40, lost=LATE)

    assert 3 == len(portal.refusals)
    assert 4 == one.guard.refusals
