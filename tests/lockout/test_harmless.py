"""Errors of a call's own that look like refusals, and how the ledger learns that they are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.lockout.policy import Policy
from tests.support.portal import OWN, REFUSAL, Portal, end


if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.clock import FakeClock
    from tests.support.participants import Participant

    Make = Callable[..., Participant]


WINDOW_SECONDS = Policy().window_seconds
DAY_SECONDS = 86_400.0


async def test_a_confirmed_error_is_harmless_for_all(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """For other participants and targets too, and whatever digits are in its text."""
    first = participant()
    await first.calls()
    assert ["api_error"] == await first.calls(own="no route to agent 17")
    await clock.advance(WINDOW_SECONDS)
    await first.calls()
    before = portal.proofs
    second = participant()

    endings = await second.calls(own="no route to agent 2048", target="other")

    assert ["api_error"] == endings
    assert before == portal.proofs


async def test_an_error_that_passes_confirms_nothing(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """An error after which the call succeeds may have been a refusal, and must not be harmless."""
    first = participant()
    await first.calls()
    tasks = first.ping()
    portal.accepted.clear()
    await clock.advance(0.15)
    portal.accepted.add("a")
    assert ["pong"] == await end(clock, tasks, 10.0)
    portal.accepted.clear()

    await first.calls(10)

    assert 4 == len(portal.refusals) == portal.most_in_a_minute


async def flapped(clock: FakeClock, portal: Portal, first: Participant, *, refusal: str) -> None:
    """Refuse a call, accept the proof after it, and refuse everything that comes then."""
    await first.calls()
    portal.accepted.clear()
    tasks = first.ping(10)
    await clock.advance(0.15)
    portal.accepted.add("a")
    await clock.advance(0.2)
    portal.accepted.clear()
    portal.refusal = refusal
    await end(clock, tasks)


@pytest.mark.parametrize("concurrency", [1, 2, 3])
async def test_a_token_that_flaps_costs_four_refusals(
    clock: FakeClock, portal: Portal, participant: Make, concurrency: int
) -> None:
    """Suspects count on after an accepted proof, so that the next refusals have less room."""
    first = participant(concurrency=concurrency)

    await flapped(clock, portal, first, refusal="refused anew")

    assert 4 == len(portal.refusals)


async def test_a_token_that_flaps_may_look_like_a_broken_target(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """The limit of the promise: the same error again after an accepted proof is harmless."""
    first = participant(concurrency=1)

    await flapped(clock, portal, first, refusal=REFUSAL)

    assert 5 == len(portal.refusals)


async def test_the_errors_of_one_secret_do_not_clear_anothers(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """Two sources of one portal get the same text, which is a refusal for one of them."""
    portal.accepted.add("b")
    good, bad = participant(), participant(secret="b")
    await good.calls(seconds=1.0)
    await bad.calls(seconds=1.0)
    tasks = bad.ping()
    await clock.advance(0.05)
    portal.accepted.remove("b")
    await end(clock, tasks, 1.0)

    await good.calls(own=REFUSAL)
    await good.calls()

    assert 2 == len(portal.refusals) == good.guard.refusals


async def test_another_text_is_another_kind(portal: Portal, participant: Make) -> None:
    """An error with another text must be a suspect of its own, and cost a proof."""
    first = participant()
    await first.calls()
    await first.calls(own=OWN)
    before = portal.proofs

    await first.calls(own="another text")

    assert 1 == portal.proofs - before


async def test_three_in_a_row_lead_to_a_proof(portal: Portal, participant: Make) -> None:
    """A refusal may read like a harmless error, so calls must be accepted now and then."""
    first = participant()
    await first.calls()
    await first.calls(own=OWN)
    await first.calls()
    before = portal.proofs

    await first.calls(2, own=OWN)
    two = portal.proofs - before
    await first.calls(own=OWN)
    await first.calls()

    assert (0, 1) == (two, portal.proofs - before)


async def test_a_kind_is_forgotten_after_a_day(
    clock: FakeClock, portal: Portal, participant: Make
) -> None:
    """A kind of error that proved harmless must count as harmless for a day only."""
    first = participant()
    await first.calls()
    await first.calls(own=OWN)
    await clock.advance(DAY_SECONDS)
    await first.calls()
    before = portal.proofs

    await first.calls(own=OWN)

    assert 1 == portal.proofs - before


async def test_a_suspect_is_told_apart_although_the_next_one_is_there(
    clock: FakeClock, participant: Make
) -> None:
    """A participant may hear of the proof only when another suspect has come up since."""
    one, other = participant(), participant()
    await one.calls()
    other.ping(there=0.1, back=0.93)
    await clock.advance(0.5)
    (suspect,) = one.ping(own=OWN)
    await clock.advance(0.3)
    other.ping(there=0.02, back=0.02, own="another text")

    assert ["api_error"] == await end(clock, [suspect])
