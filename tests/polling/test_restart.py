"""Engines that go on where another one ended, each provider with its simulated vendor."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from exporter.conformance.front import changed, changed_json, instead
from exporter.conformance.trial import Page, Trial, fits, select, vendor_samples
from exporter.conformance.vendor import reply
from exporter.overview.build import target_rows
from exporter.overview.rows import Condition
from exporter.overview.sources import source_rows
from exporter.polling.engine import Engine, connected
from exporter.settings.load import from_data
from tests.support.candidates import CANDIDATES
from tests.support.state import LastingState


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.conformance.candidate import Candidate


CANARY = "canary-7f3a"

BAD_GATEWAY = instead(reply(b"", status=502))

#: For each provider, requests and their treatment that make targets down or unknown.
SILENCED = {
    "realload": (r".*ping.*", BAD_GATEWAY),
    "blazemeter": (
        r".*private-locations.*",
        changed(
            lambda body: re.sub(rb'"lastHeartBeat":\s*\d+', b'"lastHeartBeat":1600000000', body)
        ),
    ),
    "eggplant": (r".*/api/sut/status.*", changed(lambda _: b"[]")),
    "locust": (
        r".*/stats/requests.*",
        changed(lambda body: re.sub(rb'(_usage":\d+,"state":)"running"', rb'\1"missing"', body)),
    ),
    "selenium": (
        r".*/status.*",
        changed(lambda body: body.replace(b'"availability":"UP"', b'"availability":"DOWN"')),
    ),
}

#: For each provider, requests and their treatment that make agents down.
DOWNED = SILENCED | {
    "realload": (
        r".*ping.*",
        instead(reply(b'{"isError":true,"agentNotReachableError":true}')),
    )
}

WHAT = ("attempt", "success")


def planted(value: Any, fields: frozenset[str]) -> Any:
    """Put the canary into every field that can hold a secret."""
    match value:
        case dict():
            return {
                key: CANARY if key in fields else planted(part, fields)
                for key, part in value.items()
            }
        case list():
            return [planted(part, fields) for part in value]
    return value


class Restarts:
    """A trial whose state outlives its engines, and whose machine can be rebooted."""

    def __init__(self, candidate: Candidate, folder: Path) -> None:
        self.state = LastingState(lambda: self.trial.time.unix)
        self.trial = Trial({"prod": candidate}, folder, state=self.state, retries=0)

    async def reboot(self, *, away: float = 40.0) -> None:
        """Start again after a while, with another monotonic clock."""
        self.trial.time.shift(away)
        self.trial.time.monotonic = 7.0
        await self.trial.restart()

    def shown(self) -> Page:
        """Return the vendor's samples on the page."""
        self.trial.engine.store.expire()
        return vendor_samples(self.trial.page(), "prod")

    def restored(self) -> dict[str, bool]:
        """Return which snapshots of tasks are marked, by task."""
        return {
            snapshot.task: snapshot.restored
            for snapshot in self.trial.engine.store.snapshots()
            if snapshot.task != "source"
        }


@pytest.fixture(params=CANDIDATES, ids=lambda candidate: candidate.name)
async def restarts(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Restarts]:
    restarts = Restarts(request.param, tmp_path)
    async with restarts.trial:
        yield restarts


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Restarts]:
    restarts = Restarts(CANDIDATES[0], tmp_path)
    async with restarts.trial:
        yield restarts


async def test_a_restart_has_no_gap(restarts: Restarts) -> None:
    """All series are there at once, and readiness does not wait for the first polls."""
    await restarts.trial.poll()
    before = restarts.shown()
    assert before

    await restarts.reboot()
    restarts.trial.engine.begin()

    assert before == restarts.shown()
    assert {True} == set(restarts.restored().values())
    assert restarts.trial.engine.first_shown
    assert not restarts.trial.engine.first_polls_done


async def test_what_is_restored_expires_as_if_there_had_been_no_restart(portal: Restarts) -> None:
    """A restart must not make old readings young."""
    await portal.trial.poll()

    await portal.reboot(away=100.0)
    assert select(portal.shown(), "loadfleet_agent_up")
    portal.trial.time.shift(81.0)

    assert not select(portal.shown(), "loadfleet_agent_up")


async def test_what_is_too_old_is_not_shown(portal: Restarts) -> None:
    """After a long outage nothing is known, and the daemon is not ready before it asked."""
    await portal.trial.poll()

    await portal.reboot(away=200.0)
    portal.trial.engine.begin()

    assert not select(portal.shown(), "loadfleet_agent_up")
    assert not portal.trial.engine.first_shown


async def test_the_first_poll_of_a_task_ends_its_mark(portal: Restarts) -> None:
    """A task's first poll after a restart must end the mark of its restored readings."""
    await portal.trial.poll()
    await portal.reboot()

    await portal.trial.engine.pollers["prod"].poll("agents")

    marks = portal.restored()
    assert (False, True) == (marks["agents"], marks["suites"])


async def test_when_was_polled_survives(portal: Restarts) -> None:
    """An alert on the age of the newest success must not start anew, nor fire at once."""
    await portal.trial.poll()
    names = [f"loadfleet_exporter_poll_last_{what}_timestamp_seconds" for what in WHAT]
    before = [select(portal.trial.page(), name) for name in names]

    await portal.reboot()

    assert all(value > 0 for each in before for value in each.values())
    assert before == [select(portal.trial.page(), name) for name in names]


async def test_a_restored_source_is_neither_up_nor_down(portal: Restarts) -> None:
    """A restored source must be neither up nor down, and its tasks show their last success."""
    await portal.trial.poll()

    await portal.reboot()

    engine, now = portal.trial.engine, portal.trial.clock.time()
    (row,) = source_rows(engine.pollers.values(), engine.store)
    assert Condition.UNKNOWN == row.state
    assert {(True, False)} == {(task.restored, task.unread) for task in row.tasks}
    assert all(
        40.0 <= now - (task.last_success_timestamp_seconds or 0.0) < 42.0 for task in row.tasks
    )


async def test_restored_targets_are_marked_until_the_first_poll(portal: Restarts) -> None:
    """Restored targets must be marked on the board until they have been polled."""
    await portal.trial.poll()
    await portal.reboot()

    def marks() -> set[bool]:
        snapshots = portal.trial.engine.store.snapshots()
        return {row.restored for row in target_rows(snapshots, portal.trial.clock.now())}

    restored = marks()
    await portal.trial.poll()

    assert ({True}, {False}) == (restored, marks())


async def test_a_failed_poll_leaves_what_was_restored(portal: Restarts) -> None:
    """A portal that is away after the restart must not make the fleet disappear."""
    await portal.trial.poll()
    await portal.reboot()
    before = portal.shown()
    portal.trial.only.front.treatment = BAD_GATEWAY

    await portal.trial.poll()

    assert before == portal.shown()
    assert {True} == set(portal.restored().values())


async def test_when_a_target_was_last_up_survives_the_expiry_of_its_state(
    restarts: Restarts,
) -> None:
    """The time at which a target was last up must outlive a restart and the expiry of its state."""
    trial = restarts.trial
    await trial.poll()
    before = last_up(restarts.shown())
    assert before

    await restarts.reboot(away=1_000.0)
    front = trial.only.front
    pattern, front.treatment = SILENCED[trial.only.candidate.provider.name]
    front.struck = lambda seen: fits(pattern, seen)
    await trial.poll()

    assert front.treated
    assert before == last_up(restarts.shown())


async def test_since_when_a_target_is_down_survives(restarts: Restarts) -> None:
    """The time since which a target is down must outlive several restarts."""
    trial, front = restarts.trial, restarts.trial.only.front
    await trial.poll()
    trial.time.shift(60.0)
    pattern, front.treatment = DOWNED[trial.only.candidate.provider.name]
    front.struck = lambda seen: fits(pattern, seen)
    await trial.poll()
    down = {
        (name.replace("_up", "_changed_timestamp_seconds"), labels)
        for (name, labels), value in restarts.shown().items()
        if name in ("loadfleet_agent_up", "loadfleet_controller_up") and value == 0
    }
    before = {key: restarts.shown()[key] for key in down}
    assert before

    treatment, front.treatment = front.treatment, BAD_GATEWAY
    for _ in range(2):
        await restarts.reboot(away=1_000.0)
        await trial.poll()
    unknown = down & restarts.shown().keys()
    front.treatment = treatment
    trial.time.shift(400.0)
    await trial.poll()

    assert set() == unknown
    assert before == {key: restarts.shown()[key] for key in down}


def last_up(page: Page) -> Page:
    """Return when each target was last seen up."""
    return {key: value for key, value in page.items() if "_last_up_" in key[0]}


async def test_a_poll_is_written_once(portal: Restarts) -> None:
    """The disk has other work, too."""
    await portal.trial.engine.pollers["prod"].poll("agents")

    assert ["agents"] == [key.rpartition("/")[2] for key in portal.state.writes]


async def test_a_poll_that_brought_nothing_writes_nothing(portal: Restarts) -> None:
    """A poll without readings must leave the kept snapshot as it is."""
    portal.trial.only.front.treatment = BAD_GATEWAY

    await portal.trial.engine.pollers["prod"].poll("agents")

    assert [] == portal.state.writes


async def test_a_state_that_fails_costs_no_poll(portal: Restarts) -> None:
    """A full disk must not make the fleet unknown."""
    portal.state.broken = True

    await portal.trial.poll()

    assert select(portal.shown(), "loadfleet_agent_up")
    assert not sum(portal.trial.failures()["prod"].values())


async def test_who_only_looks_shows_and_writes_nothing_of_it(portal: Restarts) -> None:
    """`status` shows what it finds itself; but it goes on from what is remembered."""
    await portal.trial.poll()
    written = list(portal.state.writes)
    looking = Engine(clock=portal.trial.clock, state=portal.state, keeps=False)
    await looking.connect(from_data(portal.trial.data))

    assert ["source"] == [snapshot.task for snapshot in looking.store.snapshots()]
    await looking.poll_once()
    await looking.end(grace_seconds=0)

    assert written == portal.state.writes
    assert "agents" in looking.pollers["prod"].kept


async def test_the_commands_that_look_write_nothing(tmp_path: Path) -> None:
    """A `status` beside a daemon must not put its own polls in the place of the daemon's."""
    trial = Trial({"prod": CANDIDATES[0]}, tmp_path)
    async with trial:
        data = {**trial.data, "state": {"path": str(tmp_path / "state")}}
        async with connected(from_data(data)) as engine:
            await engine.poll_once()

            assert engine.store.get("realload", "prod", "agents")
            written = await engine.state.documents("")
            assert {"lockout", "salt"} == {key.partition("/")[0] for key in written}


async def test_no_secret_is_written(restarts: Restarts) -> None:
    """The state must contain no secret of the settings or of a reply."""
    trial = restarts.trial
    fields = trial.only.candidate.secret_fields
    trial.only.front.treatment = changed_json(
        lambda value: json.dumps(planted(value, fields)).encode()
    )
    (settings,) = from_data(trial.data).sources
    secrets = {secret.reveal() for secret in settings.secrets()} | {CANARY}

    await trial.poll()
    trial.time.shift(61.0)
    trial.only.front.treatment = instead(reply(CANARY.encode(), status=500))
    await trial.poll()

    documents = await restarts.state.documents("")
    texts = [key.encode() + document.value for key, document in documents.items()]
    packed = [document.value for key, document in documents.items() if "snapshot/" in key]
    assert packed
    texts += map(zlib.decompress, packed)
    assert [] == [secret for secret in secrets if any(secret.encode() in text for text in texts)]
