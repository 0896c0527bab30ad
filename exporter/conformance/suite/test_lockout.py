"""A source never sends bad credentials so often that the vendor blocks the exporter's address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.conformance.cases import given
from exporter.conformance.front import judged
from exporter.conformance.trial import select
from exporter.conformance.vendor import drop, reply
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.conformance.candidate import Candidate
    from exporter.conformance.front import Front
    from exporter.conformance.trial import Trial
    from exporter.conformance.vendor import Seen, Step


#: Undocumented forms that a refusal may have.
SHAPES = {
    "dropped": drop,
    "bad request": reply(b"<html>", status=400),
    "not found": reply(b"", status=404),
    "redirect": reply(status=302, headers={"Location": "/login"}),
    "server error": reply(b"<html>", status=500),
    "page": reply(b"<html>Please log in.</html>"),
    "empty": reply(b""),
    "other shape": reply(b'{"message": "invalid token"}'),
}

MINUTE_SECONDS = 60.0
ALLOWED_REFUSALS = 4

guarded = given(lambda each: each.guarded)


def most_in_a_minute(times: list[float]) -> int:
    """Return the largest number of refusals in any 60 seconds."""
    return max(
        (sum(first <= other <= first + MINUTE_SECONDS for other in times) for first in times),
        default=0,
    )


async def minutes(trial: Trial, count: int) -> None:
    """Poll all tasks every half minute, for a number of minutes."""
    for _ in range(2 * count):
        await trial.poll()
        trial.time.shift(MINUTE_SECONDS / 2)


def refused(trial: Trial) -> bool:
    """Return whether the metrics show the credentials as refused."""
    return 1 in select(trial.page(), c.SOURCE_AUTH_FAILED.name).values()


@guarded
async def test_bad_credentials_are_shown_and_hardly_sent(trial: Trial) -> None:
    """Bad credentials cost one call per `auth_retry`, and a metric shows that they are refused."""
    portal = trial.only.portal
    portal.token = None

    await minutes(trial, 10)

    assert refused(trial)
    assert {"auth"} == {*trial.failures()[trial.only.name]} - {"blocked"}
    assert most_in_a_minute(portal.refused) <= 2
    assert 0 == portal.blocked_calls


@guarded
@pytest.mark.parametrize("call", [1, 2, 3, 4, 6, 9, 14, 22, 35])
async def test_a_revocation_in_mid_poll_costs_no_lock_out(trial: Trial, call: int) -> None:
    """After a revocation during a poll, all tasks together get at most 4 refusals in a minute."""
    subject = trial.only
    subject.front.before = _revoking(subject.front, trial, call)

    await minutes(trial, 25)

    assert subject.portal.token is None
    assert subject.portal.refused
    assert most_in_a_minute(subject.portal.refused) <= ALLOWED_REFUSALS
    assert 0 == subject.portal.blocked_calls
    assert refused(trial)


@guarded
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("call", [1, 2, 4, 14])
async def test_no_shape_of_a_refusal_leads_to_a_lock_out(
    trial: Trial, call: int, shape: Step
) -> None:
    """A refusal in any form, even a page with status 200, does not lead to a lock-out."""
    subject = trial.only
    subject.front.before = _revoking(subject.front, trial, call)
    subject.front.struck = lambda _: subject.portal.token is None
    subject.front.treatment = judged(shape)

    await minutes(trial, 10)

    assert subject.portal.refused
    assert most_in_a_minute(subject.portal.refused) <= ALLOWED_REFUSALS
    assert 0 == subject.portal.blocked_calls


@guarded
async def test_accepted_again_is_found_out(trial: Trial) -> None:
    """If the vendor accepts the credentials again, polls succeed without a restart."""
    portal = trial.only.portal
    token, portal.token = portal.token, None
    await trial.poll()

    portal.token = token
    trial.time.shift(MINUTE_SECONDS + 1)
    await trial.poll()

    assert not refused(trial)
    assert trial.readings()


@guarded
async def test_a_reload_does_not_try_again(trial: Trial) -> None:
    """A reload with the same credentials does not send them again."""
    portal = trial.only.portal
    portal.token = None
    await trial.poll()
    before = len(portal.refused)

    for seconds in range(5, 10):
        await trial.reload(timeout=f"{seconds}s")
        await trial.poll()

    assert before == len(portal.refused)
    assert refused(trial)


@given(lambda each: each.guarded and not each.fixed)
async def test_new_credentials_are_tried_at_once(trial: Trial, candidate: Candidate) -> None:
    """New credentials in the file are used at once."""
    subject = trial.only
    token = subject.portal.token
    subject.portal.token = None
    await trial.poll()
    assert refused(trial)

    subject.portal.token = f"{token}-the-next"
    candidate.written(subject.portal, subject.file)
    await trial.poll()

    assert not refused(trial)
    assert trial.readings()


def _revoking(front: Front, trial: Trial, call: int) -> Callable[[Seen], None]:
    def before(_: Seen) -> None:
        if len(front.seen) == call:
            trial.only.portal.token = None

    return before
