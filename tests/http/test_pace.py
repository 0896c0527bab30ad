"""The pace of calls, in sum over all processes that use one account and share a state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.errors import StateError
from exporter.http.pace import Account, Pace, retry_after
from exporter.http.tokens import MAX_PAUSE_SECONDS, Record, Wish, decoded, take
from exporter.metrics.telemetry import SelfMetrics
from exporter.state.fallback import FallbackState
from exporter.state.memory import MemoryState
from tests.state.stores import sqlite
from tests.support.clock import FakeClock, settle


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter.state.base import Change, Document, State


T = TypeVar("T")

PATIENCE_SECONDS = 15.0


class Shared(MemoryState):
    """A store that other processes use between a process's steps, and that can be away.

    Attributes:
        away: Whether the store cannot be reached.
        is_whole: Whether no document can be missing.
        reads, changes: The numbers of both.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.away = False
        self.is_whole = True
        self.reads = self.changes = 0

    @property
    def whole(self) -> bool:
        return self.is_whole

    async def get(self, key: str) -> Document | None:
        self.reads += 1
        await self._reach()
        return await super().get(key)

    async def update(self, key: str, change: Change[T]) -> T:
        self.changes += 1
        await self._reach()
        answer = await super().update(key, change)
        await asyncio.sleep(0)
        return answer

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise StateError("away")


class Case:
    """Processes that share a state.

    Attributes:
        time: The common clock.
        state: The shared state.
        taken: The time at which each token was taken, seconds since the beginning.
        members: The number of processes, as the processes know it.
        fingerprint: The fingerprint of their credentials.
    """

    def __init__(self) -> None:
        # Small numbers, so that their sums are exact.
        self.time = FakeClock(unix=1_000.0)
        self.state = Shared(self.time.clock.time)
        self.taken: list[float] = []
        self.members = 1
        self.fingerprint = "canary"

    def pace(
        self,
        budget: int | None = None,
        *,
        url: str = "https://vendor.test/api",
        fingerprint: str = "",
        state: State | None = None,
    ) -> Pace:
        """Start a process."""
        account = Account(
            state=state or self.state,
            url=url,
            fingerprint=lambda: fingerprint or self.fingerprint,
            members=lambda: self.members,
        )
        return Pace(budget, clock=self.time.clock, account=account)

    async def call(self, pace: Pace) -> bool:
        """Wait for the turn of a call; return whether it comes."""
        sent = await pace.take(patience_seconds=PATIENCE_SECONDS)
        if sent:
            self.taken.append(self.time.unix - 1000.0)
        return sent

    def calls(self, pace: Pace, count: int) -> list[asyncio.Task[bool]]:
        """Begin calls that wait for their turns."""
        return [asyncio.create_task(self.call(pace)) for _ in range(count)]

    async def key(self) -> str:
        """Return the key of the one record."""
        (key,) = await self.state.documents("pace/")
        return key

    async def record(self) -> Record | None:
        """Return the one record."""
        document = await self.state.get(await self.key())
        assert document is not None
        return decoded(document.value)


async def end(*tasks: asyncio.Task[bool]) -> None:
    """Kill waiting calls."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class TestBudget:
    async def test_it_holds_in_sum(self) -> None:
        """The budget must hold for all processes of an account together."""
        case = Case()
        tasks = [task for _ in range(3) for task in case.calls(case.pace(4), 4)]

        await case.time.advance(121.0)

        assert [0.0] * 4 + [60.0] * 4 + [120.0] * 4 == case.taken
        assert all(task.done() for task in tasks)

    async def test_it_holds_over_a_restart(self) -> None:
        """Calls of a killed process must count towards the budget after its restart."""
        case = Case()
        killed = case.calls(case.pace(2), 5)
        await settle()
        await end(*killed)

        case.calls(case.pace(2), 1)
        await case.time.advance(59.0)

        assert [0.0, 0.0] == case.taken
        await case.time.advance(1.0)
        assert [0.0, 0.0, 60.0] == case.taken

    async def test_the_smallest_holds_in_sum(self) -> None:
        """Two sources of one account may have been given different budgets."""
        case = Case()
        small, large = case.pace(2), case.pace(5)
        tasks = [*case.calls(small, 1), *case.calls(large, 5)]

        await case.time.advance(59.0)
        await end(*tasks)

        assert [0.0, 0.0] == case.taken

    async def test_a_larger_one_holds_a_minute_after_the_smallest_was_used(self) -> None:
        """A budget that was raised by a reload is not held down by what it was."""
        case = Case()
        await case.call(case.pace(1))
        await case.time.advance(60.0)

        tasks = case.calls(case.pace(5), 5)
        await settle()

        assert [0.0] + [60.0] * 5 == case.taken
        await end(*tasks)

    @pytest.mark.parametrize(
        ("url", "fingerprint"),
        [("https://other.test/api", "canary"), ("https://vendor.test/api", "other")],
    )
    async def test_other_accounts_have_their_own(self, url: str, fingerprint: str) -> None:
        """A budget must apply to one account at one origin only."""
        case = Case()
        await case.call(case.pace(1))

        await case.call(case.pace(1, url=url, fingerprint=fingerprint))

        assert [0.0, 0.0] == case.taken

    @pytest.mark.parametrize("url", ["https://vendor.test:443", "https://VENDOR.test/other"])
    async def test_an_origin_is_known_however_it_is_written(self, url: str) -> None:
        """Paths, default ports and capitals make no other vendor."""
        case = Case()
        await case.call(case.pace(1))

        tasks = case.calls(case.pace(1, url=url), 1)
        await settle()

        assert [0.0] == case.taken
        await end(*tasks)

    async def test_changed_credentials_bring_no_new_one(self) -> None:
        """A token that was rotated is most likely the same account's."""
        case = Case()
        pace = case.pace(2)
        await case.call(pace)
        await case.call(case.pace(2))
        tasks = case.calls(pace, 1)
        await settle()
        case.fingerprint = "rotated"

        await case.time.advance(59.0)

        assert [0.0, 0.0] == case.taken
        await end(*tasks)

    async def test_credentials_that_cannot_be_read_are_those_of_before(self) -> None:
        """While their file is being replaced, the account does not change."""
        case = Case()
        pace = case.pace(2)
        await case.call(pace)
        case.fingerprint = ""

        await case.call(pace)

        assert 1 == len(await case.state.documents("pace/"))

    async def test_no_secret_is_kept(self) -> None:
        """A record and its key say nothing of the account, not even by its fingerprint."""
        case = Case()

        await case.call(case.pace(2))

        document = await case.state.get(await case.key())
        assert document is not None
        for told in (document.value, (await case.key()).encode()):
            assert not any(secret in told for secret in (b"canary", b"vendor.test"))

    async def test_a_large_one_makes_no_large_record(self) -> None:
        """A large budget must not make a large record, which each call writes."""
        case = Case()
        pace = case.pace(100_000)

        for _ in range(700):
            await case.call(pace)
            case.time.shift(0.1)

        document = await case.state.get(await case.key())
        assert document is not None
        assert len(document.value) < 2500

    async def test_without_one_a_call_changes_nothing(self) -> None:
        """A source without a budget pays one look a second, and the salt once a minute."""
        case = Case()
        pace = case.pace()

        for _ in range(100):
            await case.call(pace)
            case.time.shift(0.1)

        assert 1 == case.state.changes
        assert 10 == case.state.reads

    @settings(deadline=None)
    @given(
        st.integers(1, 4),
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 3), st.floats(0.0, 40.0), st.booleans()),
            max_size=25,
        ),
    )
    async def test_no_minute_sees_more(
        self, budget: int, events: list[tuple[int, int, float, bool]]
    ) -> None:
        """In no minute may an account exceed its budget, and every call must get its turn."""
        case = Case()
        paces = [case.pace(budget) for _ in range(3)]
        waiting: list[list[asyncio.Task[bool]]] = [[], [], []]

        for process, count, seconds, killed in events:
            if killed:
                await end(*waiting[process])
                paces[process], waiting[process] = case.pace(budget), []
            waiting[process] += case.calls(paces[process], count)
            if killed:
                await asyncio.sleep(0)  # so that some are killed in the middle of a step
            else:
                await case.time.advance(seconds)
        left = [task for tasks in waiting for task in tasks if not task.done()]
        await case.time.advance(62.0 * (1 + len(left) // budget))

        assert all(task.done() for task in left)
        pairs = zip(case.taken, case.taken[budget:], strict=False)
        assert all(later - earlier >= 60.0 for earlier, later in pairs)


class TestFairness:
    async def test_the_calls_of_a_process_keep_their_order(self) -> None:
        """First come, first served."""
        case = Case()
        pace, order = case.pace(1), list[int]()

        async def call(number: int) -> None:
            await case.call(pace)
            order.append(number)

        tasks = [asyncio.create_task(call(number)) for number in range(4)]
        await case.time.advance(180.0)

        assert [0, 1, 2, 3] == order
        assert all(task.done() for task in tasks)

    async def test_processes_take_turns(self) -> None:
        """A process with many queued calls must not hold up a process with one."""
        case = Case()
        many = case.calls(case.pace(1), 10)
        await settle()
        one = case.calls(case.pace(1), 1)
        other = case.calls(case.pace(1), 1)

        await case.time.advance(180.0)

        assert [True, True] == [task.done() for task in (*one, *other)]
        assert 4 == len(case.taken)
        await end(*many)

    async def test_the_place_of_who_was_killed_is_free_soon(self) -> None:
        """A process that does not come for its token holds the next one up for a second."""
        case = Case()
        await case.call(case.pace(1))
        killed = case.calls(case.pace(1), 1)
        await settle()
        await end(*killed)
        case.time.shift(1.0)

        tasks = case.calls(case.pace(1), 1)
        await case.time.advance(62.0)

        assert all(task.done() for task in tasks)
        assert 61.0 <= case.taken[-1] <= 61.2


class TestPause:
    async def test_it_holds_all(self) -> None:
        """A process without a budget sees within a second what another was asked for."""
        case = Case()
        asked, other = case.pace(), case.pace()
        await case.call(other)

        await asked.pause(120.0, sent=case.time.monotonic)
        case.time.shift(1.0)

        assert not await case.call(other)
        assert 119.0 == other.left

    async def test_with_a_budget_it_is_seen_at_once(self) -> None:
        """The record is read for the token anyway, and none is taken during a pause."""
        case = Case()
        asked, other = case.pace(5), case.pace(5)

        await asked.pause(120.0, sent=case.time.monotonic)

        assert not await case.call(other)
        record = await case.record()
        assert record is not None
        assert {} == record.taken

    async def test_a_short_one_is_waited_for(self) -> None:
        """A call of another process goes out when the pause is over."""
        case = Case()
        await case.pace().pause(7.0, sent=case.time.monotonic)

        tasks = case.calls(case.pace(), 1) + case.calls(case.pace(5), 1)
        await case.time.advance(8.0)

        assert [7.0, 7.0] == [round(taken, 3) for taken in case.taken]
        assert all(task.done() for task in tasks)

    async def test_one_that_begins_while_a_token_is_taken_holds_its_call(self) -> None:
        """A pause that begins while a call takes its token must hold that call."""
        case = Case()
        pace = case.pace(5)
        (task,) = case.calls(pace, 1)
        await asyncio.sleep(0)

        await pace.pause(7.0, sent=case.time.monotonic)
        await case.time.advance(8.0)

        assert task.done()
        assert [7.0] == case.taken

    async def test_a_long_one_is_told_at_once(self) -> None:
        """During a long pause, a call must fail at once, not wait behind others."""
        case = Case()
        pace = case.pace(1)
        first, *waiting = case.calls(pace, 2)
        await settle()

        await pace.pause(120.0, sent=case.time.monotonic)
        (late,) = case.calls(pace, 1)
        await settle()

        assert first.result()
        assert not late.result()
        await end(*waiting)

    async def test_a_longer_one_goes_on(self) -> None:
        """A longer pause must not be cut by a shorter one."""
        case = Case()
        await case.pace().pause(120.0, sent=case.time.monotonic)
        await case.pace().pause(30.0, sent=case.time.monotonic)

        pace = case.pace()

        assert not await case.call(pace)
        assert 120.0 == pace.left

    async def test_it_survives_a_restart(self, tmp_path: Path) -> None:
        """A vendor that was too busy does not know that the exporter was restarted."""
        case = Case()
        before = sqlite(tmp_path, case.time)
        await case.pace(state=before).pause(3600.0, sent=case.time.monotonic)
        await before.aclose()
        await case.time.advance(600.0)

        after = sqlite(tmp_path, case.time)
        pace = case.pace(state=after)
        sent = await case.call(pace)
        await after.aclose()

        assert not sent
        assert 3000.0 == pytest.approx(pace.left)

    async def test_other_accounts_go_on(self) -> None:
        """The pause is the account's."""
        case = Case()

        await case.pace().pause(120.0, sent=case.time.monotonic)

        assert await case.call(case.pace(fingerprint="other"))

    async def test_it_has_an_end_though_the_record_is_wrong(self) -> None:
        """Longer than a pause can be, it is none, and a clock that went makes it no longer."""
        case = Case()
        await case.pace().pause(5.0, sent=case.time.monotonic)
        record = Record(pause_until=case.time.unix + 2 * MAX_PAUSE_SECONDS)
        await case.state.put(await case.key(), msgspec.msgpack.encode(record))

        assert await case.call(case.pace())
        assert await case.call(case.pace(1))


class TestWithoutState:
    async def test_each_member_takes_its_part(self) -> None:
        """Without the state, each process must take its part of the budget."""
        case = Case()
        case.state.away, case.members = True, 3
        tasks = [task for _ in range(3) for task in case.calls(case.pace(7), 7)]

        await case.time.advance(59.0)

        assert [0.0] * 6 == case.taken
        await end(*tasks)

    async def test_more_members_than_tokens_take_longer_turns(self) -> None:
        """Five members with two calls a minute have one each in two and a half minutes."""
        case = Case()
        case.state.away, case.members = True, 5
        tasks = case.calls(case.pace(2), 3)

        await case.time.advance(310.0)

        assert [0.0, 150.0, 300.0] == case.taken
        await end(*tasks)

    async def test_it_is_so_while_the_store_is_not_whole(self) -> None:
        """A store that was lost does not know what was taken, until a minute has passed."""
        case = Case()
        case.state.is_whole, case.members = False, 2
        tasks = case.calls(case.pace(6), 6)

        await case.time.advance(59.0)

        assert [0.0] * 3 == case.taken
        await end(*tasks)

    async def test_what_was_taken_meanwhile_counts_afterwards(self) -> None:
        """When the state is back, no process takes what others took without it."""
        case = Case()
        case.state.away, case.members = True, 2
        paces = [case.pace(4), case.pace(4)]
        tasks = [task for pace in paces for task in case.calls(pace, 4)]
        await case.time.advance(30.0)
        case.state.away = False

        await case.time.advance(29.0)
        assert [0.0] * 4 == case.taken

        await case.time.advance(1.0)
        assert [0.0] * 4 + [60.0] * 4 == case.taken
        assert all(task.done() for task in tasks)

    async def test_what_was_known_of_a_lost_record_counts(self) -> None:
        """A process must bring its known calls into an emptied store, not get a new budget."""
        case = Case()
        pace = case.pace(2)
        await case.call(case.pace(2))
        await case.call(pace)
        await case.state.delete(await case.key())

        tasks = case.calls(pace, 1)
        await case.time.advance(59.0)

        assert [0.0, 0.0] == case.taken
        await end(*tasks)

    async def test_a_pause_holds_who_was_asked_for_it(self) -> None:
        """Without the state, a process must keep a pause that it was itself asked for."""
        case = Case()
        case.state.away = True
        pace = case.pace()

        await pace.pause(120.0, sent=case.time.monotonic)

        assert not await case.call(pace)

    async def test_a_store_that_becomes_unusable_ends_no_call(self, tmp_path: Path) -> None:
        """The state goes over to memory, and the calls go on."""
        case = Case()
        (tmp_path / "state.db").mkdir()
        telemetry = SelfMetrics(clock=case.time.clock)
        state = FallbackState(
            sqlite(tmp_path, case.time), clock=case.time.clock, telemetry=telemetry
        )

        with capture_logs():
            sent = await case.call(case.pace(1, state=state))
        await state.aclose()

        assert sent

    async def test_another_salt_is_found_within_a_minute(self) -> None:
        """A store that was emptied has a salt that all get to know."""
        case = Case()
        pace = case.pace(5)
        await case.call(pace)
        for key in await case.state.documents(""):
            await case.state.delete(key)
        await case.call(case.pace(5))
        case.time.shift(60.0)

        await pace.pause(120.0, sent=case.time.monotonic)

        assert not await case.call(case.pace(5))


class TestDamage:
    async def test_it_is_said_once(self) -> None:
        """An unreadable record must be logged once and replaced."""
        case = Case()
        pace = case.pace(3)
        await case.call(pace)
        await case.state.put(await case.key(), b"garbage")

        with capture_logs() as logs:
            await case.call(pace)
            await case.call(pace)

        assert ["pace_forgotten"] == [entry["event"] for entry in logs]
        record = await case.record()
        assert record is not None
        assert 3 == sum(record.taken.values())

    async def test_without_a_budget_it_is_no_pause(self) -> None:
        """A process without a budget must ignore a damaged record and leave it as it is."""
        case = Case()
        await case.pace().pause(30.0, sent=case.time.monotonic)
        await case.state.put(await case.key(), b"garbage")

        assert await case.call(case.pace())

    async def test_what_is_of_the_future_counts_for_nothing(self) -> None:
        """Times after the state's clock must not count."""
        case = Case()
        pace, future = case.pace(3), case.time.unix + 1e6
        await case.call(pace)
        record = Record(budgets={1: future}, waiting={"gone": (0.0, future), "lost": (0.0, future)})
        await case.state.put(await case.key(), msgspec.msgpack.encode(record))

        tasks = case.calls(pace, 2)
        await settle()

        assert [0.0] * 3 == case.taken
        assert all(task.done() for task in tasks)

    @given(
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                lambda **fields: msgspec.msgpack.encode(fields),
                version=st.sampled_from([1, 2]),
                taken=st.dictionaries(st.integers(-(2**63), 2**64 - 1), st.integers(-1, 2**64 - 1)),
                budgets=st.dictionaries(st.integers(-1, 2**64 - 1), st.floats()),
                waiting=st.dictionaries(st.text(), st.tuples(st.floats(), st.floats())),
                pause_until=st.floats(),
            ),
            st.builds(
                lambda ahead, **fields: msgspec.msgpack.encode(
                    {
                        **fields,
                        "taken": {int(1.7e9 + ahead) * 4: 10**9},
                        "waiting": {"a": (0.0, 1.7e9 + ahead)},
                        "budgets": {1: 1.7e9 + ahead},
                    }
                ),
                ahead=st.floats(-70.0, 1e9),
                pause_until=st.floats(1.69e9, 1.71e9),
            ),
        )
    )
    def test_no_record_holds_anybody_for_long(self, content: bytes) -> None:
        """No record may delay a call by more than the longest pause and two minutes."""
        now, waited = 1.7e9, 0.0
        wish = Wish(participant="me", budget=1)

        with capture_logs():
            while True:
                content, answer = take(content, now + waited, wish=wish)
                wish = answer.wish
                if not answer.wait_seconds:
                    break
                waited += max(answer.wait_seconds, 0.01)
                assert waited <= MAX_PAUSE_SECONDS + 125.0
        assert decoded(content) is not None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 12 ", 12.0),
        ("000000000000012", 12.0),
        ("99999", MAX_PAUSE_SECONDS),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:30 -0000", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("Tue, 14 Nov 2099 22:13:10 GMT", MAX_PAUSE_SECONDS),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("Tue, 99 Nov 2023 22:13:30 GMT", None),
    ],
)
def test_retry_after_is_read(value: str | None, seconds: float | None) -> None:
    """Seconds and dates are understood and bounded, all else is as if absent."""
    clock = FakeClock(unix=1_700_000_000.0)

    assert seconds == retry_after(value, clock=clock.clock)


@given(value=st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [-+]?\w+"))
def test_no_header_breaks_it(value: str) -> None:
    """Any `Retry-After` header must give a pause between 0 and the limit, or none."""
    seconds = retry_after(value, clock=FakeClock().clock)

    assert seconds is None or 0.0 <= seconds <= MAX_PAUSE_SECONDS
