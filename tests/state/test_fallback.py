from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import StateError
from exporter.metrics import own
from exporter.metrics.telemetry import SelfMetrics
from exporter.state.base import RETRY_SECONDS, Document
from exporter.state.fallback import FallbackState
from tests.state.stores import kept, sqlite
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.metrics.own import OwnFamily
    from exporter.state.base import State


class Case:
    """A state whose store can be taken away.

    Attributes:
        state: The tested state.
        clock: The clock of all parts.
    """

    def __init__(self, folder: Path, *, expected: bool = False) -> None:
        self.clock = FakeClock()
        self.telemetry = SelfMetrics(clock=self.clock.clock)
        self.folder = folder
        self.state: State = FallbackState(
            sqlite(folder, self.clock),
            clock=self.clock.clock,
            telemetry=self.telemetry,
            expected=expected,
        )

    def take_away(self) -> None:
        """Put something else in the place of the file, which is kept."""
        (self.folder / "state.db").rename(self.folder / "kept")
        (self.folder / "state.db").mkdir()

    def give_back(self) -> None:
        (self.folder / "state.db").rmdir()
        (self.folder / "kept").rename(self.folder / "state.db")

    def sample(self, family: OwnFamily[Any], backend: str = "sqlite") -> float | None:
        return self.telemetry.registry.get_sample_value(family.name, {"backend": backend})

    def failures(self) -> float:
        name = "loadfleet_exporter_state_operation_failures_total"
        return self.telemetry.registry.get_sample_value(name, {"backend": "sqlite"}) or 0.0

    async def count(self, key: str = "n") -> int:
        """Add one to a document and return the sum."""

        def change(value: bytes | None, _: float) -> tuple[bytes, int]:
            number = int(value or b"0") + 1
            return b"%d" % number, number

        return await self.state.update(key, change)

    async def now(self) -> float:
        return await self.state.update("now", lambda _, now: (None, now))


@pytest.fixture
async def case(tmp_path: Path) -> AsyncIterator[Case]:
    case = Case(tmp_path)
    yield case
    await case.state.aclose()


async def test_a_store_that_works_is_used(case: Case) -> None:
    """A write must reach the store and be counted, and the gauge be 1."""
    await case.state.put("key", b"value")

    assert {"key": b"value"} == await kept(case.folder, case.clock)
    assert 1.0 == case.sample(own.STATE_UP)
    assert 1.0 == case.sample(own.STATE_OPERATIONS)
    assert 0.0 == case.sample(own.STATE_OPERATION_FAILURES)
    assert (case.sample(own.STATE_SIZE) or 0) > 4096


async def test_without_the_store_it_goes_on_in_memory(case: Case) -> None:
    """The call that fails is answered from memory, with what was changed last."""
    await case.count()
    await case.count("other")
    case.take_away()

    assert 2 == await case.count()
    assert 3 == await case.count()
    assert 2 == await case.count("other")
    assert "memory" == case.state.backend
    assert 0.0 == case.sample(own.STATE_UP)
    assert 1.0 == case.sample(own.STATE_OPERATION_FAILURES)
    assert 3.0 == case.sample(own.STATE_OPERATIONS, "memory")


async def test_the_clock_goes_on_in_memory(case: Case) -> None:
    """Stamps in the ledger keep their meaning, and ages go on."""
    await case.count()
    before = await case.now()
    case.clock.unix -= 5000
    case.take_away()
    case.clock.shift(10.0)

    assert pytest.approx(before + 10.0) == await case.now()
    found = await case.state.get("n")
    assert found is not None
    assert 10.0 == pytest.approx(found.age_seconds, abs=1e-3)


async def test_each_cause_is_told_once(case: Case) -> None:
    """The log names place and remedy, and is not filled by what stays as it is."""
    (case.folder / "state.db").mkdir()

    with capture_logs() as logs:
        for _ in range(5):
            await case.count()
            case.clock.shift(RETRY_SECONDS)

    assert [("state_in_memory", "warning")] == [(log["event"], log["log_level"]) for log in logs]
    assert f"{case.folder}/state.db is a directory" in logs[0]["message"]


async def test_a_store_nobody_asked_for_is_missed_quietly(tmp_path: Path) -> None:
    """A default folder that cannot be written must be logged as information only."""
    (tmp_path / "state.db").mkdir()

    with capture_logs() as logs:
        await Case(tmp_path, expected=True).count()

    assert ["info"] == [log["log_level"] for log in logs]


async def test_the_store_is_tried_again_at_times(case: Case) -> None:
    """A store that is away must be tried again at intervals, not with every operation."""
    await case.count()
    case.take_away()
    await case.count()
    case.give_back()

    case.clock.shift(RETRY_SECONDS - 1)
    await case.count()
    assert "memory" == case.state.backend

    case.clock.shift(1)
    with capture_logs() as logs:
        assert 4 == await case.count()

    assert "sqlite" == case.state.backend
    assert 1.0 == case.sample(own.STATE_UP)
    assert ["state_recovered"] == [log["event"] for log in logs]


async def test_what_was_changed_in_memory_goes_back(case: Case) -> None:
    """Documents changed in memory must be written when the store is back."""
    await case.count()
    case.take_away()
    await case.count()
    await case.count("new")
    case.give_back()
    case.clock.shift(RETRY_SECONDS)

    await case.state.get("whatever")

    assert {"n": b"2", "new": b"1"} == await kept(case.folder, case.clock)


async def test_what_others_have_written_meanwhile_stays(case: Case) -> None:
    """Documents that others have written meanwhile must win over those in memory."""
    await case.count()
    case.take_away()
    await case.count()
    case.give_back()
    other = sqlite(case.folder, case.clock)
    await other.put("n", b"100")
    case.clock.shift(RETRY_SECONDS)

    assert 101 == await case.count()
    await other.aclose()


async def test_a_store_that_is_lost_again_is_left_again(case: Case) -> None:
    """Going there and back may happen as often as it likes, and loses nothing."""
    for number in range(1, 10, 3):
        assert number == await case.count()
        case.take_away()
        assert number + 1 == await case.count()
        case.give_back()
        case.clock.shift(RETRY_SECONDS)
        assert number + 2 == await case.count()


async def test_the_store_alone_has_no_memory_in_its_place(case: Case) -> None:
    """The shared state must fail while the store is away, and its failures be counted."""
    shared = case.state.shared
    await shared.put("a", b"1")
    case.take_away()
    failures = case.failures()

    for operation in (shared.get("a"), shared.put("a", b"2"), shared.documents(""), case.count()):
        with suppress(StateError):
            await operation
    case.give_back()

    assert failures + 4 == case.failures()
    assert b"1" == (await shared.get("a") or Document(value=b"", age_seconds=0)).value
    assert "memory" == case.state.backend


async def test_whoever_finds_the_store_in_order_leads_back_to_it(case: Case) -> None:
    """A standby sends no call, so it would not try for itself, and seem to be without its store."""
    await case.count()
    case.take_away()
    await case.count()
    case.give_back()
    case.clock.shift(RETRY_SECONDS)

    await case.state.shared.get("whatever")

    assert "sqlite" == case.state.backend
    assert 1.0 == case.sample(own.STATE_UP)
    assert case.state.whole
