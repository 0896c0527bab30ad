"""A source's calls end in time, and its readings expire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from exporter.conformance.cases import given
from exporter.conformance.front import instead
from exporter.conformance.trial import Trial, accused, fits, select, ups, vendor_samples
from exporter.conformance.vendor import endless, hang, reply, say
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.conformance.candidate import Candidate
    from exporter.conformance.trial import Page
    from exporter.conformance.vendor import Step


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"

DAY_SECONDS = 86_400.0

#: The default `stale_after` at the interval of a trial.
STALE_SECONDS = 180.0


@pytest.mark.parametrize(
    "step",
    [hang, say(HEAD + b"[", then=hang), endless(HEAD, b" ", pause_seconds=0.01)],
    ids=["no reply", "half a reply", "drip"],
)
async def test_a_call_ends_with_its_time_out(
    candidate: Candidate, tmp_path: Path, step: Step
) -> None:
    """If the vendor does not answer, polls fail with `timeout` in time, and no target is down."""
    async with Trial({candidate.name: candidate}, tmp_path, timeout="200ms") as trial:
        trial.only.front.treatment = instead(step)

        async with asyncio.timeout(10.0):
            await trial.poll()

        assert {"timeout"} == {*trial.failures()[candidate.name]} - {"blocked"}
        assert {} == accused(trial.page(), candidate.name)


async def test_readings_outlive_a_failure_but_not_for_ever(trial: Trial) -> None:
    """If the vendor is down, the last readings stay until they are stale."""
    name = trial.only.name
    await trial.poll()
    good = vendor_samples(trial.page(), name)
    trial.only.front.treatment = instead(reply(b"<html>", status=502))

    trial.time.shift(STALE_SECONDS / 2)
    await trial.poll()
    held = vendor_samples(trial.page(), name)
    trial.time.shift(DAY_SECONDS)
    gone = trial.page()

    assert good == held
    assert {} == vendor_samples(gone, name)
    assert [0] == [*select(gone, c.SOURCE_UP.name).values()]

    trial.only.front.treatment = None
    await trial.poll()
    assert ups(good) == ups(trial.page())


@given(lambda each: each.target)
async def test_a_target_that_cannot_be_asked_about_keeps_its_state_for_a_while(
    trial: Trial, candidate: Candidate
) -> None:
    """If the call about a single target fails, its state stays until it is stale."""

    def about_target(page: Page) -> set[str]:
        found = vendor_samples(page, candidate.name)
        return {name for name, labels in found if candidate.target in dict(labels).values()}

    await trial.poll()
    good = about_target(trial.page())
    trial.only.front.struck = lambda seen: fits(candidate.part, seen)
    trial.only.front.treatment = instead(reply(b"<html>", status=502))

    trial.time.shift(STALE_SECONDS / 2)
    await trial.poll()
    held = about_target(trial.page())
    trial.time.shift(STALE_SECONDS / 2 + 1)
    await trial.poll()
    after = trial.page()

    assert good == held
    assert about_target(after) < good
    assert {} == accused(after, candidate.name)
