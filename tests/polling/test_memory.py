"""State that polling restores after a restart; `test_restart.py` has engines with real vendors."""

from __future__ import annotations

import asyncio
import math
import re
import types
import typing
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from exporter.clock import Moment
from exporter.cooperative import TURN
from exporter.errors import Reason
from exporter.fleet.changes import Since
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import (
    Agent,
    AgentState,
    Cluster,
    Reading,
    Run,
    SourceHealth,
    Suite,
    TaskHealth,
)
from exporter.fleet.store import Snapshot
from exporter.metrics.mapping import MAPPINGS
from exporter.polling.doubt import Doubt
from exporter.polling.expected import Listed
from exporter.polling.memory import SCHEMA, Memory
from exporter.polling.poller import Kept, TaskFailure, TaskStatus
from exporter.sharding import Shard
from exporter.sources.blazemeter.settings import BlazeMeterSettings
from exporter.sources.realload.settings import RealLoadSettings
from tests.support.clock import FakeClock
from tests.support.state import LastingState


if TYPE_CHECKING:
    from exporter.sources.settings import SourceSettings


SOURCE = RealLoadSettings(name="prod", url="http://portal.example/RemoteUserAPI")

SINCE = {
    (Kind.AGENT, "7"): Since(up=False, timestamp_seconds=1_699_999_000.25),
    (Kind.MEMBER, "3/31"): Since(up=True, timestamp_seconds=0.0),
}

#: Whole numbers, so that sums are exact.
MOMENTS = st.builds(
    Moment,
    unix=st.integers(0, 2**31).map(float),
    monotonic=st.integers(-(2**31), 2**31).map(float),
)


def values(kind: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - a table
    """Return what a field of a reading can hold."""
    arguments = typing.get_args(kind)
    match typing.get_origin(kind) or kind:
        case types.UnionType:
            return st.one_of([values(each) for each in arguments])
        case types.NoneType:
            return st.none()
        case origin if origin is tuple:
            return st.lists(values(arguments[0]), max_size=2).map(tuple)
        case origin if origin is Mapping:
            return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=2)
        case origin if origin is float:
            return st.floats(allow_nan=False)
        case origin if origin is int:
            return st.integers(0, 2**31)  # a count
        case origin if origin is str:
            return st.text(max_size=5)
        case origin if origin is Moment:
            return MOMENTS
        case origin if issubclass(origin, msgspec.Struct):
            fields = msgspec.structs.fields(origin)
            return st.builds(origin, **{each.name: values(each.type) for each in fields})
    return st.from_type(kind)


def shifted(value: Any, seconds: float) -> Any:
    """Return plain values with all moments in them moved on the monotonic clock."""
    match value:
        case {"unix": unix, "monotonic": monotonic}:
            return {"unix": unix, "monotonic": monotonic + seconds}
        case dict():
            return {key: shifted(each, seconds) for key, each in value.items()}
        case list() | tuple():
            return [shifted(each, seconds) for each in value]
    return value


def without(value: Any, field: str) -> Any:
    """Return plain values without a field."""
    match value:
        case dict():
            return {key: without(each, field) for key, each in value.items() if key != field}
        case list():
            return [without(each, field) for each in value]
    return value


def plain(value: Any) -> Any:
    return msgspec.to_builtins(value, builtin_types=(bytes,))


class Process:
    """A process that uses a state, with clocks of its own."""

    def __init__(
        self,
        state: LastingState,
        *,
        monotonic: float = 1_000.0,
        namespace: str = "loadfleet",
        shard: Shard | None = None,
    ) -> None:
        time = FakeClock(monotonic=monotonic)
        self.memory = Memory(state, namespace=namespace, shard=shard or Shard(), clock=time.clock)

    async def recalled(self, source: SourceSettings = SOURCE) -> Kept | None:
        return (await self.memory.recall(source)).get("agents")


class Store:
    """A state with a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.state = LastingState(lambda: self.now)


def kept(*readings: Reading, **changes: Any) -> Kept:
    taken = Moment(unix=1_700_000_000.0, monotonic=1_000.0)
    facts: dict[str, Any] = {
        "provider": "realload",
        "source": "prod",
        "task": "agents",
        "readings": readings,
        "taken": taken,
        "stale_after": 180.0,
    }
    status = TaskStatus(last_attempt=taken, last_success=taken)
    return Kept(snapshot=Snapshot(**(facts | changes)), status=status)


def agent(number: int = 1) -> Agent:
    state = AgentState(read_at=Moment(unix=1.0, monotonic=900.0), up=True)
    return Agent(agent_id=str(number), agent="a", state=state)


@settings(max_examples=200)
@given(
    readings=st.lists(st.one_of([values(each) for each in MAPPINGS]), max_size=4),
    stale_after=st.sampled_from([60.0, math.inf]),
    memory=st.binary(max_size=8),
    away=st.integers(0, 10_000),
)
def test_what_is_restored_is_what_was_kept_on_other_clocks(
    readings: list[Reading], stale_after: float, memory: bytes, away: int
) -> None:
    """Each moment is as long ago as it was, and everything else the same."""
    store = Store()
    before = Process(store.state, monotonic=5_000.0)
    after = Process(store.state, monotonic=20.0)
    one = kept(*readings, stale_after=stale_after, memory=memory)
    failure = TaskFailure(at=one.snapshot.taken, reason=Reason.TIMEOUT, message="no answer")
    doubt = Doubt(since=one.snapshot.taken, digest=b"\x00\xff")
    health = TaskHealth(task="agents", up=True, targets={"agent": 2.0})
    status = replace(one.status, failure=failure, health=health)
    listed = (Listed(kind=Kind.AGENT, at=one.snapshot.taken),)
    one = replace(one, status=status, since=SINCE, doubt=doubt, listed=listed)

    async def restart() -> Kept | None:
        await before.memory.keep(SOURCE, one)
        store.now += away
        return await after.recalled()

    found = asyncio.run(restart())

    assert found is not None
    ahead = 20.0 - away - 5_000.0
    expected = [shifted(plain(part), ahead) for part in (one.snapshot, one.status)]
    assert expected == [
        shifted(plain(replace(part, restored=False)), 0.0)
        for part in (found.snapshot, found.status)
    ]
    assert shifted(plain(doubt), ahead) == plain(found.doubt)
    assert shifted(plain(listed), ahead) == plain(list(found.listed))
    assert SINCE == found.since
    assert (True, True) == (found.snapshot.restored, found.status.restored)
    assert [type(each) for each in readings] == [type(each) for each in found.snapshot.readings]


async def test_what_an_older_version_kept_is_restored() -> None:
    """An update must cost neither readings nor pages: what was not kept then is not known."""
    store = Store()
    process = Process(store.state)
    await process.memory.keep(SOURCE, kept(agent()))
    ((key, document),) = (await store.state.documents("snapshot/")).items()
    content = msgspec.msgpack.decode(zlib.decompress(document.value))
    del content["listed"], content["status"]["answered"]

    await store.state.put(key, zlib.compress(msgspec.msgpack.encode(content)))
    found = await process.recalled()

    assert found is not None
    assert (1, ()) == (len(found.snapshot.readings), found.listed)


async def test_a_field_that_an_older_version_did_not_have_is_not_known() -> None:
    """A suite that was kept without its place is there, and without one."""
    store = Store()
    process = Process(store.state)
    suite = Suite(suite_id="3", suite="nightly", agent_id="145", running=True)
    await process.memory.keep(SOURCE, kept(suite))
    ((key, document),) = (await store.state.documents("snapshot/")).items()
    content = zlib.decompress(document.value)
    older = msgspec.msgpack.encode(without(msgspec.msgpack.decode(content), "agent_id"))

    await store.state.put(key, zlib.compress(older))
    found = await process.recalled()

    assert len(older) < len(content)
    assert found is not None
    assert (replace(suite, agent_id=""),) == found.snapshot.readings


async def test_nothing_is_as_it_is_since_tomorrow() -> None:
    """A time of change that lies in the future must be restored as the present."""
    store = Store()
    since = {(Kind.AGENT, "1"): Since(up=False, timestamp_seconds=1_700_000_000.0 + 86_400.0)}

    await Process(store.state).memory.keep(SOURCE, replace(kept(agent()), since=since))
    found = await Process(store.state).recalled()

    assert found is not None
    assert {(Kind.AGENT, "1"): Since(up=False, timestamp_seconds=1_700_000_000.0)} == found.since


@pytest.mark.parametrize(
    "differing",
    [
        SOURCE.model_copy(update={"url": "http://other.example/RemoteUserAPI"}),
        SOURCE.model_copy(update={"name": "lab"}),
        SOURCE.model_copy(update={"labels": {"site": "bern"}}),
        SOURCE.model_copy(update={"tasks": {"agents": 30.0}}),
        SOURCE.model_copy(update={"include": {"agents": re.compile("a.*")}}),
        SOURCE.model_copy(update={"exclude": {"agents": re.compile("a.*")}}),
        BlazeMeterSettings(name="prod", url=SOURCE.url),
    ],
    ids=["url", "name", "labels", "tasks", "include", "exclude", "provider"],
)
async def test_a_differing_source_shares_nothing(differing: SourceSettings) -> None:
    """The agents of one source must not be shown as those of another."""
    process = Process(Store().state)
    await process.memory.keep(SOURCE, kept(agent()))

    assert None is await process.recalled(differing)


@pytest.mark.parametrize("differences", [{"namespace": "x"}, {"shard": Shard(index=1, total=2)}])
async def test_a_differing_process_shares_nothing(differences: Mapping[str, Any]) -> None:
    """Two installations, or two shards, in one store know nothing of each other."""
    state = Store().state
    await Process(state).memory.keep(SOURCE, kept(agent()))

    assert None is await Process(state, **differences).recalled()


async def test_a_source_that_is_the_same_shares_all() -> None:
    """A change of settings that do not affect readings must not discard the memory."""
    process = Process(Store().state)
    await process.memory.keep(SOURCE, kept(agent()))

    assert await process.recalled(SOURCE.model_copy(update={"timeout": 3.0}))


def packed(**changes: Any) -> bytes:
    """Return a document as the present version writes it, but for some values."""
    now = {"unix": 1.0, "monotonic": 1.0}
    document = {
        "schema": SCHEMA,
        "written": now,
        "taken": now,
        "stale_after": 180.0,
        "status": {},
        "memory": b"",
        "chunks": [["Agent", [{"agent_id": "1", "agent": "a"}]]],
        "since": [[["agent", "1", True, 1.0]]],
    }
    return zlib.compress(msgspec.msgpack.encode(document | changes))


async def planted(content: bytes) -> tuple[Kept | None, list[str]]:
    """Return the readings recalled from a foreign document, and the log events."""
    state = Store().state
    process = Process(state)
    await process.memory.keep(SOURCE, kept(agent()))
    await state.put(state.writes[0], content)
    with capture_logs() as logs:
        found = await process.recalled()
    return found, [entry["event"] for entry in logs]


async def test_a_document_in_order_is_taken() -> None:
    """The documents of the next test are wrong for the reason that they name."""
    found, events = await planted(packed())

    assert (True, []) == (found is not None, events)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no document",
        packed()[:-9],
        zlib.compress(b"\x91" * 200_000),
        zlib.compress(b"\x81\xa2zz" + b"\x91" * 200_000),
        zlib.compress(msgspec.msgpack.encode([1])),
        packed(schema=SCHEMA + 1),
        packed(stale_after=math.nan),
        packed(taken={"unix": 1e18, "monotonic": 1.0}),
        packed(taken={"unix": 1.0, "monotonic": math.inf}),
        packed(written={"unix": 1.0, "monotonic": math.nan}),
        packed(chunks=[["Toaster", []]]),
        packed(chunks=[["Agent", [{"agent_id": 1}]]]),
        packed(since=[[["agent", "1", True, 1e18]]]),
        packed(since=[[["toaster", "1", True, 1.0]]]),
        packed(status={"failure": {"at": {"unix": 1.0, "monotonic": 1.0}, "reason": "mood"}}),
    ],
    ids=[
        "empty",
        "foreign",
        "cut",
        "deep",
        "deep value",
        "list",
        "newer",
        "no limit",
        "far",
        "endless",
        "unwritten",
        "type",
        "field",
        "far since",
        "kind",
        "reason",
    ],
)
async def test_a_document_that_is_not_ours_is_ignored_with_a_line(content: bytes) -> None:
    """A document that is damaged, foreign or newer must be ignored with one log line."""
    assert (None, ["memory_ignored"]) == await planted(content)


async def test_a_state_that_fails_is_told_once_until_it_works_again() -> None:
    """A full disk costs the memory, and the log one line."""
    state = Store().state
    process = Process(state)
    with capture_logs() as logs:
        for state.broken in (True, True, False, True):
            await process.memory.keep(SOURCE, kept(agent()))

    assert ["memory_not_written"] * 2 == [entry["event"] for entry in logs]
    assert "the disk is full" == logs[0]["message"]


async def test_a_state_that_cannot_be_read_costs_the_memory_only() -> None:
    """A start must not depend on what was written down."""
    state = Store().state
    state.broken = True

    with capture_logs() as logs:
        assert None is await Process(state).recalled()

    assert ["memory_not_read"] == [entry["event"] for entry in logs]


@pytest.mark.parametrize("verb", ["keep", "recall"])
async def test_others_get_their_turn_meanwhile(verb: str) -> None:
    """Thousands of readings must hold up neither scrapes nor calls."""
    process = Process(Store().state)
    many = kept(*(agent(number) for number in range(10 * TURN)))
    await process.memory.keep(SOURCE, many)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await (process.memory.keep(SOURCE, many) if verb == "keep" else process.recalled())
    other.cancel()

    assert turns >= 10


async def test_the_order_of_readings_of_several_types_is_kept() -> None:
    """The pages and the metrics show them in this order."""
    process = Process(Store().state)
    mixed = (
        agent(1),
        Run(run_id="1", run="r", phase="ended"),
        agent(2),
        SourceHealth(),
        Suite(suite_id="1", suite="s"),
        Cluster(cluster_id="1", agent_cluster="c", controller="x:1"),
    )
    await process.memory.keep(SOURCE, kept(*mixed))

    found = await process.recalled()

    assert found is not None
    assert mixed == found.snapshot.readings
