"""Two engines with one state, each provider with its simulated vendor: one polls, both show."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import certifi
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from exporter.conformance.front import changed, instead
from exporter.conformance.trial import Page, Trial
from exporter.conformance.trial import parsed as page_of
from exporter.conformance.vendor import reply
from exporter.errors import BlockedError, ConfigurationError, StateError
from exporter.fleet.readings import SourceHealth
from exporter.overview.sources import source_rows
from exporter.polling.engine import Engine
from exporter.polling.poller import HEALTH
from exporter.settings.load import from_data
from exporter.state.leadership import HAND_OVER_SECONDS, Role
from exporter.state.lease import LEASE_SECONDS, parsed
from tests.support.candidates import CANDIDATES
from tests.support.state import LastingState


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from exporter.conformance.candidate import Candidate
    from exporter.conformance.front import Ask
    from exporter.conformance.vendor import Wire
    from exporter.simulator.vendor import Portal
    from exporter.state.base import Document


BAD_GATEWAY = instead(reply(b"", status=502))


class Shared(LastingState):
    """The store of a pair.

    Attributes:
        fails_at: The number of the read of a snapshot that fails; 0: none.
        on_delete: Called before a document is deleted.
    """

    fails_at = 0

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.on_delete: Callable[[], object] = lambda: None

    async def get(self, key: str) -> Document | None:
        if key.startswith("snapshot/") and self.fails_at:
            self.fails_at -= 1
            if not self.fails_at:
                raise StateError("it has not answered")
        return await super().get(key)

    async def delete(self, key: str) -> None:
        self.on_delete()
        await super().delete(key)


class Pair:
    """A leader and its standby.

    Attributes:
        leader: The engine that polls at the beginning.
        standby: The engine that shows the leader's readings.
    """

    def __init__(self, candidate: Candidate, folder: Path) -> None:
        self.state = Shared(lambda: self.trial.time.unix)
        self.trial = Trial({"prod": candidate}, folder, state=self.state, retries=0)

    async def connect(self) -> None:
        """Connect both engines, and decide which of them polls."""
        self.leader = self.trial.engine
        self.standby = Engine(clock=self.trial.clock, state=self.state)
        await self.standby.connect(from_data(self.trial.data))
        await self.look(self.leader, self.standby)

    @property
    def portal(self) -> Portal:
        return self.trial.only.portal

    async def look(self, *engines: Engine) -> None:
        """Let engines check the lease."""
        for engine in engines:
            await engine._duties["prod"].leadership.step()

    async def poll(self, engine: Engine) -> None:
        """Poll all tasks of an engine once, and let both look."""
        await self.look(engine)
        poller = engine.pollers["prod"]
        for task in poller.intervals:
            if poller.source.blocked:
                poller.hold(task)
            else:
                await poller.poll(task)
        await self.look(engine, self.standby, self.leader)

    async def wait(self, seconds: int) -> None:
        """Let time pass for both."""
        for _ in range(seconds // 5):
            self.trial.time.shift(5)
            await self.look(self.leader, self.standby)

    async def fail_over(self) -> None:
        """Let the leader stall until its lease is over."""
        self.trial.time.shift(LEASE_SECONDS + 1)
        await self.look(self.standby)

    def role(self, engine: Engine) -> Role:
        return engine._duties["prod"].leadership.role


def shown(engine: Engine) -> Page:
    """Return what an engine shows of the fleet and of its sources."""
    page = page_of(engine.exposition.metrics().body.decode())
    return {
        (name, labels): value
        for (name, labels), value in page.items()
        if re.match(
            r"loadfleet_(?!exporter_)|loadfleet_exporter_(poll_last|targets_exp|vendor_slow)", name
        )
    }


@asynccontextmanager
async def connected(candidate: Candidate, folder: Path) -> AsyncIterator[Pair]:
    pair = Pair(candidate, folder)
    async with pair.trial:
        await pair.connect()
        yield pair
        await pair.standby.end(grace_seconds=0)


@pytest.fixture(params=CANDIDATES, ids=lambda candidate: candidate.name)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    async with connected(request.param, tmp_path) as pair:
        yield pair


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Pair]:
    async with connected(CANDIDATES[0], tmp_path) as pair:
        yield pair


async def test_both_show_what_one_polls(pair: Pair) -> None:
    """The standby sends no call, and its page is the leader's, in good times and bad."""
    await pair.poll(pair.leader)
    well = shown(pair.leader), shown(pair.standby)
    pair.trial.only.front.treatment = BAD_GATEWAY
    pair.trial.time.shift(60)
    await pair.poll(pair.leader)
    badly = shown(pair.leader), shown(pair.standby)

    assert Role.LEADER is pair.role(pair.leader)
    assert Role.STANDBY is pair.role(pair.standby)
    assert any(name.endswith("agent_up") for name, _ in well[0])
    assert well[0] == well[1]
    assert badly[0] == badly[1]
    assert well[0] != badly[0]
    assert None is pair.standby.pollers["prod"].source._client.guard._keeper.answer


async def test_what_is_shown_is_not_marked_as_restored(pair: Pair) -> None:
    """A standby shows what is polled now, so it has nothing to explain."""
    await pair.poll(pair.leader)

    (row,) = source_rows(pair.standby.pollers.values(), pair.standby.store)
    assert {False} == {task.restored for task in row.tasks}
    assert {False} == {each.restored for each in pair.standby.store.snapshots()}


async def test_a_fail_over_has_no_gap(pair: Pair) -> None:
    """The new leader must show all readings, before and after its first poll."""
    await pair.poll(pair.leader)
    before = shown(pair.standby)
    await pair.fail_over()
    taken_over = shown(pair.standby)
    await pair.poll(pair.standby)
    after = shown(pair.standby)

    moving = re.compile(r".*(timestamp|clock_delta|duration|ping|age)_?.*")
    assert Role.LEADER is pair.role(pair.standby)
    assert before == taken_over
    assert before.keys() == after.keys()
    assert {key: value for key, value in before.items() if not moving.match(key[0])} == {
        key: value for key, value in after.items() if not moving.match(key[0])
    }


async def test_since_when_a_target_is_down_survives_a_fail_over(portal: Pair) -> None:
    """The next leader goes on with the memory of the one before."""
    await portal.poll(portal.leader)
    portal.trial.only.front.treatment = instead(
        reply(b'{"isError":true,"agentNotReachableError":true}')
    )
    portal.trial.only.front.struck = lambda seen: b"pingMeasuringAgent" in seen.body
    portal.trial.time.shift(60)
    await portal.poll(portal.leader)
    changed_at = _changed(portal.leader)

    await portal.fail_over()
    await portal.poll(portal.standby)

    assert changed_at
    assert changed_at == _changed(portal.standby)


def _changed(engine: Engine) -> dict[object, float]:
    return {
        key: value
        for key, value in shown(engine).items()
        if key[0] == "loadfleet_agent_changed_timestamp_seconds"
    }


@pytest.mark.parametrize(
    "pair",
    [each for each in CANDIDATES if not each.fixed],
    ids=lambda candidate: candidate.name,
    indirect=True,
)
async def test_refused_credentials_stay_refused(pair: Pair) -> None:
    """A fail-over does not end the page about them: the next poll of the new leader decides."""
    pair.portal.token = "another"
    for _ in range(2):
        await pair.poll(pair.leader)
    told = _refused(pair.leader), _refused(pair.standby)
    await pair.fail_over()
    taken_over = _refused(pair.standby)
    await pair.poll(pair.standby)

    assert (True, True) == told
    assert taken_over
    assert _refused(pair.standby)


def _refused(engine: Engine) -> bool:
    (health,) = (
        reading
        for snapshot in engine.store.snapshots()
        for reading in snapshot.readings
        if isinstance(reading, SourceHealth)
    )
    return health.auth_failed


async def test_a_leader_that_reaches_no_vendor_hands_over(portal: Pair) -> None:
    """The standby polls on; that nothing was reached is shown until it has reached something."""
    await portal.poll(portal.leader)
    portal.trial.only.front.treatment = BAD_GATEWAY
    await portal.poll(portal.leader)

    await portal.wait(int(HAND_OVER_SECONDS) + 5)

    assert Role.STANDBY is portal.role(portal.leader)
    assert Role.LEADER is portal.role(portal.standby)
    assert 0.0 == _up(portal.leader) == _up(portal.standby)


def _up(engine: Engine) -> float:
    (up,) = (value for (name, _), value in shown(engine).items() if name == "loadfleet_source_up")
    return up


async def test_refused_credentials_are_no_reason_to_hand_over(portal: Pair) -> None:
    """A leader whose credentials are refused must keep the lead: all would be refused."""
    portal.portal.token = "another"
    await portal.poll(portal.leader)
    await portal.poll(portal.leader)
    await portal.wait(int(HAND_OVER_SECONDS) + 5)

    assert Role.LEADER is portal.role(portal.leader)


async def test_what_is_asked_is_answered_although_more_is_told(portal: Pair) -> None:
    """A message of the leader must not cut off a client of the standby."""
    await portal.poll(portal.leader)
    (target, *_) = portal.trial.targets().values()
    front, arrived, go_on = portal.trial.only.front, asyncio.Event(), asyncio.Event()

    async def hold(wire: Wire, ask: Ask) -> None:
        front.treatment = None
        arrived.set()
        await go_on.wait()
        await instead(reply((await ask()).body))(wire, ask)

    front.treatment = hold
    asked = asyncio.create_task(portal.standby.explain("prod", "agent", target))
    await arrived.wait()
    await portal.poll(portal.leader)
    other = await portal.standby.explain("prod", "agent", target)
    go_on.set()

    first = await asked

    assert type(other.reading) is type(first.reading)
    assert not portal.standby._asked


async def test_a_standby_explains_what_it_was_told(portal: Pair) -> None:
    """A standby must explain targets that only its leader has listed."""
    await portal.poll(portal.leader)
    (target, *_) = portal.trial.targets().values()

    explanation = await portal.standby.explain("prod", "agent", target)

    assert explanation.reading is not None
    assert Role.STANDBY is portal.role(portal.standby)


@pytest.mark.parametrize("part", ["snapshot", "lead"])
async def test_what_another_version_tells_is_ignored(portal: Pair, part: str) -> None:
    """During a rolling upgrade a standby says so once, and takes over nevertheless."""
    await portal.poll(portal.leader)
    for key, (value, written) in tuple(portal.state._documents.items()):
        if key.startswith(part) and (lease := parsed(value)):
            other = b"x" if part == "snapshot" else replace(lease, told=b"\xc1").encoded()
            portal.state._documents[key] = other, written
    portal.standby.pollers["prod"].kept.clear()
    portal.standby._duties["prod"]._mirror._versions.clear()
    portal.standby._duties["prod"].leadership._told = b""

    with capture_logs() as logs:
        await portal.look(portal.standby)
        portal.standby._duties["prod"]._mirror._versions.clear()
        portal.standby._duties["prod"].leadership._told = b""
        await portal.look(portal.standby)
    await portal.fail_over()
    await portal.poll(portal.standby)

    events = [each["event"] for each in logs if each["log_level"] == "warning"]
    assert len(events) == len({(each["event"], each.get("task")) for each in logs})
    assert {"memory_ignored" if part == "snapshot" else "leader_not_understood"} == set(events)
    assert 1.0 == _up(portal.standby)


async def test_who_has_lost_its_lease_writes_nothing(portal: Pair) -> None:
    """A poll that ends after another process took over replaces nothing of that one's."""
    await portal.poll(portal.leader)
    late = portal.leader.pollers["prod"].kept["agents"]
    await portal.fail_over()
    await portal.standby.pollers["prod"].poll("agents")
    written = _snapshots(portal.state)

    await portal.leader._duties["prod"].keep(late)

    assert written
    assert written == _snapshots(portal.state)


async def test_a_changed_list_is_shown_by_both(portal: Pair) -> None:
    """A target that the leader no longer lists is gone from the standby's page as well."""
    await portal.poll(portal.leader)
    portal.trial.only.front.treatment = changed(lambda body: body.replace(b'"Agent', b'"Agant'))
    portal.trial.time.shift(60)

    await portal.poll(portal.leader)

    assert shown(portal.leader) == shown(portal.standby)


async def test_a_snapshot_that_was_not_shown_is_read_again(portal: Pair) -> None:
    """A store that fails after the first of several new snapshots costs the standby none."""
    await portal.poll(portal.leader)
    await portal.wait(60)
    for task in portal.leader.pollers["prod"].intervals:
        await portal.leader.pollers["prod"].poll(task)
    await portal.look(portal.leader)
    portal.state.fails_at = 3

    await portal.look(portal.standby)
    failed = portal.state.fails_at == 0
    await portal.wait(10)

    assert failed
    assert _taken(portal.leader) == _taken(portal.standby)


def _taken(engine: Engine) -> dict[str, float]:
    return {each.task: each.taken.unix for each in engine.store.snapshots() if each.task != HEALTH}


async def test_own_readings_that_are_newer_stay(portal: Pair) -> None:
    """A standby's own newer readings must not be replaced by older ones of the leader."""
    await portal.poll(portal.leader)
    await portal.wait(40)
    await portal.leader.pollers["prod"].poll("agents")
    await portal.look(portal.leader)
    portal.trial.time.shift(10)
    leadership = portal.standby._duties["prod"].leadership
    leadership.role = Role.ALONE
    await portal.standby.pollers["prod"].poll("agents")
    before = _taken(portal.standby)["agents"]

    await portal.look(portal.standby)

    assert _taken(portal.leader)["agents"] < before
    assert before == _taken(portal.standby)["agents"]


async def test_to_explain_changes_nothing_of_the_page(portal: Pair) -> None:
    """An explanation must not change the page, even if no poll succeeded."""
    portal.trial.only.front.treatment = BAD_GATEWAY
    await portal.poll(portal.leader)
    before = shown(portal.standby)

    with pytest.raises(BlockedError):
        await portal.standby.explain("prod", "agent", "41")
    await portal.standby.exposition.refresh()

    assert any(name == "loadfleet_source_task_up" for name, _ in before)
    assert before == shown(portal.standby)


async def test_an_outage_is_not_told_anew_by_each_leader(portal: Pair) -> None:
    """While both reach no vendor they take turns, and the log grows no faster for that."""
    await portal.poll(portal.leader)
    portal.trial.only.front.treatment = BAD_GATEWAY
    with capture_logs() as logs:
        for _ in range(10):
            for engine in (portal.leader, portal.standby):
                if portal.role(engine) is Role.LEADER:
                    for task in engine.pollers["prod"].intervals:
                        await engine.pollers["prod"].poll(task)
            await portal.wait(60)

    events = [each["event"] for each in logs]
    assert events.count("handed_over") > 2
    assert 2 * len(portal.leader.pollers["prod"].intervals) == events.count("poll_failed")


async def test_who_has_not_polled_yet_does_not_hand_back(portal: Pair) -> None:
    """A process must not hand the lead back before its own first poll."""
    await portal.poll(portal.leader)
    portal.trial.only.front.treatment = BAD_GATEWAY
    await portal.poll(portal.leader)
    await portal.wait(int(HAND_OVER_SECONDS) + 5)
    taken_over = portal.role(portal.standby)

    await portal.wait(int(HAND_OVER_SECONDS) + 5)

    assert Role.LEADER is taken_over
    assert Role.LEADER is portal.role(portal.standby)


async def test_polling_ends_before_the_lease_is_free(portal: Pair) -> None:
    """At a reload nothing is polled or written any more when the standby may begin."""
    await portal.poll(portal.leader)
    before = set(portal.leader.schedule._jobs)
    at_the_release: list[set[str]] = []
    portal.state.on_delete = lambda: at_the_release.append(set(portal.leader.schedule._jobs))

    await portal.leader.apply(from_data({**portal.trial.data, "defaults": {"retries": 1}}))
    portal.state.on_delete = lambda: None

    assert before
    assert [set()] == at_the_release


async def test_who_cannot_connect_anew_polls_as_before(tmp_path: Path) -> None:
    """A file for TLS that is gone at the fail-over must not leave a leader that polls nothing."""
    authority = tmp_path / "ca.pem"
    shutil.copy(certifi.where(), authority)
    candidate = CANDIDATES[0]
    with_file = replace(
        candidate,
        settings=lambda url, file: {**candidate.settings(url, file), "ca_file": str(authority)},
    )
    async with connected(with_file, tmp_path) as pair:
        await pair.poll(pair.leader)
        authority.unlink()

        with capture_logs() as logs:
            await pair.fail_over()

        assert Role.LEADER is pair.role(pair.standby)
        assert pair.standby.schedule._jobs
        assert ["source_not_renewed"] == [
            each["event"] for each in logs if each["log_level"] == "warning"
        ]


async def test_a_source_that_could_not_be_made_leaves_no_lease(tmp_path: Path) -> None:
    """The settings after those of a failed reload have a lease of their own."""
    async with connected(CANDIDATES[0], tmp_path) as pair:
        (source,) = pair.trial.data["sources"]
        wrong = {**source, "labels": {"site": "b"}, "ca_file": str(tmp_path / "ca.pem")}
        shutil.copy(certifi.where(), tmp_path / "ca.pem")
        settings = from_data({**pair.trial.data, "sources": [wrong]})
        (tmp_path / "ca.pem").unlink()
        with pytest.raises(ConfigurationError):
            await pair.standby.apply(settings)

        await pair.standby.apply(from_data(pair.trial.data))
        await pair.look(pair.leader, pair.standby)

        assert Role.LEADER is pair.role(pair.leader)
        assert Role.STANDBY is pair.role(pair.standby)


def _snapshots(state: LastingState) -> dict[str, object]:
    return {key: each for key, each in state._documents.items() if key.startswith("snapshot/")}
