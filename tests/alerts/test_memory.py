"""The document that keeps the alerts over a restart."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from exporter.alerts.evaluate import Alerts, Phase
from exporter.alerts.memory import AlertingState, AlertMemory
from exporter.clock import Moment
from exporter.sharding import Shard
from tests.support.alerts import alert, keyed, later
from tests.support.state import LastingState


ACTIVE = keyed(alert("fires"), alert("waits", phase=Phase.PENDING))
RESOLVED = keyed(alert("ended", resolved=-60))
(ENDED,) = RESOLVED

STATE = AlertingState(
    alerts=Alerts(active=ACTIVE, resolved=RESOLVED),
    accepted={ENDED: frozenset({"http://one", "http://two"})},
)


def restarted(seconds: float) -> Moment:
    """Return a moment after `START` by the clocks of another process."""
    return Moment(unix=later(seconds).unix, monotonic=5.0)


def by_agent(state: AlertingState) -> dict[str, Any]:
    """Return all alerts of a state."""
    alerts = {**state.alerts.active, **state.alerts.resolved}
    return {one.labels["agent"]: one for one in alerts.values()}


class Process:
    """Processes that follow each other and share one state; the state has its own clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.state = LastingState(lambda: self.now)
        self.memory = self.another()

    def another(self, *, namespace: str = "loadfleet", shard: Shard | None = None) -> AlertMemory:
        """Return the memory of another process."""
        return AlertMemory(self.state, namespace=namespace, shard=shard or Shard())

    async def loaded(self, seconds: float = 30) -> AlertingState:
        """Return what is found by a process that begins so much later."""
        self.now += seconds
        return await self.another().load(restarted(seconds)) or AlertingState()


async def saved(state: AlertingState = STATE) -> Process:
    """Return a process that has saved a state."""
    process = Process()
    await process.memory.save(state, later(0))
    return process


async def test_what_is_saved_is_taken_up_again() -> None:
    """Phases, labels, texts, and who has heard of an end must survive."""
    loaded = await (await saved()).loaded()

    assert STATE.accepted == loaded.accepted
    assert {key: (a.phase, a.annotations) for key, a in ACTIVE.items()} == {
        key: (a.phase, a.annotations) for key, a in loaded.alerts.active.items()
    }
    assert list(RESOLVED) == list(loaded.alerts.resolved)


async def test_times_are_those_of_before_on_the_clocks_of_now() -> None:
    """Alertmanager knows an alert by its beginning, and ages go on."""
    fires = by_agent(await (await saved()).loaded())["fires"]

    assert Moment(unix=later(0).unix, monotonic=-25.0) == fires.fired
    assert Moment(unix=later(-300).unix, monotonic=-325.0) == fires.since


async def test_the_time_we_were_away_does_not_count_as_pending() -> None:
    """Time while no process ran must not count as pending."""
    waits = by_agent(await (await saved()).loaded(120))["waits"]

    assert later(-300 + 120).unix == waits.since.unix


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
async def test_a_clock_that_was_set_makes_nothing_older_or_younger(jump: float) -> None:
    """A pending alert must not fire because the host's wall clock was set."""
    process = await saved()
    process.now = 30.0
    now = Moment(unix=later(30.0 + jump).unix, monotonic=5.0)

    alerts = by_agent(await process.another().load(now) or AlertingState())

    assert {"fires": -325.0, "waits": -295.0} == {
        agent: alerts[agent].since.monotonic for agent in ("fires", "waits")
    }
    assert all(one.since.unix <= now.unix for one in alerts.values())


async def test_since_when_a_condition_has_lapsed_survives() -> None:
    """The time since which a condition has lapsed must outlive a restart."""
    lapsed = msgspec.structs.replace(alert("fires"), lapsed=later(-60))

    loaded = await (await saved(AlertingState(alerts=Alerts(active=keyed(lapsed))))).loaded()

    assert Moment(unix=later(-60).unix, monotonic=-85.0) == by_agent(loaded)["fires"].lapsed


async def test_only_what_is_active_is_marked_as_restored() -> None:
    """The evaluation has to know what it has not seen itself."""
    alerts = by_agent(await (await saved()).loaded(1))

    assert {"fires": True, "waits": True, "ended": False} == {
        agent: one.restored for agent, one in alerts.items()
    }


async def test_after_a_day_only_the_ends_are_loaded() -> None:
    """For so long an alert goes on while nothing is known of its target."""
    assert ["fires", "waits", "ended"] == list(by_agent(await (await saved()).loaded(86_399)))
    assert ["ended"] == list(by_agent(await (await saved()).loaded(86_401)))


async def test_a_clock_that_was_set_back_puts_no_beginning_into_the_future() -> None:
    """Alertmanager takes no alert that has not begun."""
    process = await saved()

    alerts = by_agent(await process.another().load(restarted(-900)) or AlertingState())

    assert {later(-900).unix} == {one.since.unix for one in alerts.values()}


@pytest.mark.parametrize("value", [math.inf, -math.inf, 12.5])
async def test_any_value_can_be_saved(value: float) -> None:
    """JSON has no infinity, and a limit can be infinite."""
    state = AlertingState(alerts=Alerts(active=keyed(alert("a", value=value))))

    loaded = await (await saved(state)).loaded()

    assert value == by_agent(loaded)["a"].value


@pytest.mark.parametrize("differences", [{"namespace": "x"}, {"shard": Shard(index=1, total=2)}])
async def test_others_have_their_own(differences: dict[str, Any]) -> None:
    """Other shards and namespaces must not load this process's alerts."""
    process = await saved()

    assert await process.another(**differences).load(later(1)) is None


async def test_the_first_start_has_no_state_and_no_complaint() -> None:
    """A document that does not exist yet is no fault."""
    with capture_logs() as logged:
        loaded = await Process().loaded()

    assert (AlertingState(), []) == (loaded, logged)


SAVED = {
    "name": "Down",
    "labels": {"alertname": "Down"},
    "annotations": {},
    "value": "0.0",
    "phase": "firing",
    "since": {"unix": 0.0, "monotonic": 0.0},
    "fired": {"unix": 0.0, "monotonic": 0.0},
}


async def planted(content: bytes) -> tuple[AlertingState, list[Any]]:
    """Return the alerts loaded from a foreign document, and the log events."""
    process = Process()
    await process.state.put(process.memory.group, content)
    with capture_logs() as logged:
        return await process.loaded(), logged


async def test_a_document_in_order_is_taken() -> None:
    """The documents of the next test are wrong for the reason that they show."""
    loaded, logged = await planted(
        json.dumps({"version": 1, "written": 0.0, "alerts": [SAVED]}).encode()
    )

    assert (1, []) == (len(loaded.alerts.active), logged)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"version": 1, "alerts"',
        b'{"version": 1, "zz": ' + b"[" * 200_000,
        json.dumps({"version": 2, "written": 0.0, "alerts": []}).encode(),
        json.dumps({"version": 1, "written": 0.0, "alerts": [{"name": "CANARY"}]}).encode(),
        json.dumps({"version": 1, "alerts": []}).encode(),
        b"\0" * 1_000,
        '{"version": 1}'.encode("utf-16"),
        b'{"version": ' + b"1" * 5_000 + b', "written": 0.0, "alerts": []}',
        b'{"version": 1, "written": 1e999, "alerts": []}',
        b'{"version": 1, "written": -1e300, "alerts": []}',
        b'{"version": 1, "written": 0.0, "sent": 1e300, "alerts": []}',
        b'{"version": 1, "written": 0.0, "alerts": [{"name": "\\ud800"}]}',
        *(
            json.dumps({"version": 1, "written": 0.0, "alerts": [SAVED | wrong]}).encode()
            for wrong in (
                {"value": "CANARY"},
                {"phase": "CANARY"},
                {"fired": None},
                {"fired": 1e18},
                {"fired": {"unix": 1e18, "monotonic": 0.0}},
                {"since": {"unix": -1.0, "monotonic": 0.0}},
                {"since": {"unix": 1.0, "monotonic": -1e300}},
                {"labels": {"CANARY\n": ""}},
                {"annotations": {"description": "CANARY" * 1_000_000}},
                {"phase": "resolved"},
                {"resolved": {"unix": 1.0, "monotonic": 1.0}},
            )
        ),
    ],
)
async def test_a_damaged_document_costs_the_memory_and_nothing_else(content: bytes) -> None:
    """The daemon starts; the log says that something was lost and quotes nothing."""
    loaded, logged = await planted(content)

    assert AlertingState() == loaded
    assert ["alerts_forgotten"] == [entry["event"] for entry in logged]
    assert "CANARY" not in str(logged)


async def test_a_state_that_cannot_be_used_costs_the_memory_and_is_said_once() -> None:
    """A full disk must not fill the log too."""
    process = await saved()
    process.state.broken = True

    with capture_logs() as logged:
        for _ in range(3):
            await process.memory.save(STATE, later(0))
        assert AlertingState() == await process.loaded()

    assert ["alerts_not_saved", "alerts_forgotten"] == [entry["event"] for entry in logged]


class TestProcesses:
    """Processes that each keep a document of their own."""

    @staticmethod
    def of(*alerts: Any, sent: float | None = None) -> AlertingState:
        return AlertingState(alerts=Alerts(active=keyed(*alerts)), sent=sent)

    @staticmethod
    def own(instance: str) -> Any:
        """Return an alert about a process."""
        name = "LoadFleetReloadFailed"
        return alert(instance, name=name, labels={"alertname": name, "instance": instance})

    async def test_what_is_known_of_targets_is_that_of_whoever_sent_last(self) -> None:
        """The sending process's document must win over newer ones from other processes."""
        process = Process()
        memory = process.memory
        await memory.save(self.of(alert("old"), sent=later(-60).monotonic), later(0), instance="a")
        await memory.save(self.of(alert("new"), sent=later(0).monotonic), later(0), instance="b")
        process.now = 20
        await memory.save(self.of(alert("never")), later(20), instance="c")

        loaded = await process.another().load(restarted(20), instance="c")

        assert loaded is not None
        assert ["new"] == list(by_agent(loaded))

    async def test_where_nobody_has_sent_the_newest_one_counts(self) -> None:
        """Something is better than nothing."""
        process = Process()
        await process.memory.save(self.of(alert("old")), later(0), instance="a")
        process.now = 20
        await process.memory.save(self.of(alert("new")), later(20), instance="b")

        loaded = await process.another().load(restarted(20), instance="c")

        assert loaded is not None
        assert ["new"] == list(by_agent(loaded))

    async def test_each_one_has_the_alerts_about_itself(self) -> None:
        """Each process must load its own alerts about itself, and no other process's."""
        process = Process()
        for name in ("a", "b"):
            state = self.of(self.own(name), alert(f"target-{name}"), sent=later(0).monotonic)
            await process.memory.save(state, later(0), instance=name)
            process.now += 1

        found = {name: await process.another().load(restarted(2), instance=name) for name in "abc"}

        assert {
            name: [one.labels.get("instance", "target-b") for one in state.alerts.active.values()]
            for name, state in found.items()
            if state is not None
        } == {"a": ["target-b", "a"], "b": ["target-b", "b"], "c": ["target-b"]}

    async def test_the_document_of_a_version_that_had_but_one_is_read(self) -> None:
        """An upgrade neither ends nor repeats a page, about itself neither."""
        process = Process()
        saved = {
            "version": 1,
            "written": 0.0,
            "alerts": [
                SAVED,
                SAVED
                | {
                    "name": "LoadFleetReloadFailed",
                    "labels": {"alertname": "LoadFleetReloadFailed", "instance": "a"},
                },
            ],
        }
        await process.state.put(process.memory.group, json.dumps(saved).encode())

        loaded = await process.another().load(restarted(20), instance="a")

        assert loaded is not None
        assert ["Down", "LoadFleetReloadFailed"] == [
            one.name for one in loaded.alerts.active.values()
        ]

    async def test_when_it_last_sent_is_known_after_a_restart(self) -> None:
        """The time of a process's last delivery must outlive its restart."""
        process = Process()
        await process.memory.save(self.of(sent=later(-30).monotonic), later(0), instance="a")
        process.now = 20

        loaded = await process.another().load(restarted(20), instance="a")

        assert loaded is not None
        assert 5.0 - 20 - 30 == loaded.sent

    @pytest.mark.parametrize("content", [b"{", b'{"version": 2, "written": 0.0, "alerts": []}'])
    async def test_what_another_one_wrote_in_vain_costs_nothing(self, content: bytes) -> None:
        """During a rolling upgrade one of them has another version, which is no fault."""
        process = Process()
        state = self.of(alert("known"), sent=later(0).monotonic)
        await process.memory.save(state, later(0), instance="a")
        await process.state.put(process.memory.key("b"), content)

        with capture_logs() as logged:
            loaded = await process.another().load(restarted(1), instance="a")

        assert loaded is not None
        assert (["known"], []) == (list(by_agent(loaded)), logged)

    async def test_one_that_is_long_gone_does_no_harm(self) -> None:
        """The document of a process that is long gone must not be used."""
        process = Process()
        await process.memory.save(
            self.of(alert("long ago"), sent=later(0).monotonic), later(0), instance="gone"
        )
        process.now = 20 * 86_400.0
        state = self.of(alert("now"), sent=later(0).monotonic)
        await process.memory.save(state, later(0), instance="a")

        loaded = await process.another().load(restarted(1), instance="b")

        assert loaded is not None
        assert ["now"] == list(by_agent(loaded))
