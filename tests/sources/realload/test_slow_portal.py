"""Agents must not be called down because the portal is slow or hangs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import BlockedError, CallError, PollError, Reason
from exporter.fleet.readings import Agent
from exporter.sources.realload.pings import Ending, accuses
from tests.support.realload import FakePortal, Rig, Script, reply


LATE = CallError(Reason.TIMEOUT, "pingMeasuringAgent: no reply in time")
PROOF = "getUserAccountInfo"

UP = (True, None)
DEAD = (False, Reason.TIMEOUT)


def rig(count: int, answers: dict[int, Script], **settings: Any) -> Rig:
    """Make a source over so many agents, all of which answer, except as said by their ids."""
    listing = [
        {"agentId": number, "agentDescription": f"a{number}", "agentActive": True}
        for number in range(1, count + 1)
    ]
    return Rig(
        {
            "getMeasuringAgents": {"measuringAgentsArray": listing, "isError": False},
            "pingMeasuringAgent": lambda request: answers.get(request["agentId"], "ok"),
        },
        **settings,
    )


def verdicts(readings: Any) -> dict[int, tuple[bool | None, Reason | None] | None]:
    return {
        int(agent.agent_id): (agent.state.up, agent.state.reason) if agent.state else None
        for agent in readings
        if isinstance(agent, Agent)
    }


async def let_pass(source: Rig, task: str = "agents") -> Any:
    """Poll while time passes."""
    polling = asyncio.create_task(source.source.poll(task))
    while not polling.done():
        await source.time.advance(0.5)
    return await polling


def taking(source: Rig, seconds: dict[int, float], *, others: float = 0.2) -> None:
    """Set the duration of the agents' pings; longer ones than the time-out time out."""
    timeout = source.settings.timeout
    script = source.portal.script["pingMeasuringAgent"]

    async def delay(request: dict[str, Any]) -> None:
        wanted = seconds.get(request.get("agentId", 0), others)
        if request["action"] == "pingMeasuringAgent":
            await source.time.clock.sleep(min(timeout, wanted))

    def answer(request: dict[str, Any]) -> Any:
        late = seconds.get(request["agentId"], others) >= timeout
        return LATE if late else script(request)  # type: ignore[operator]  # it is a function

    source.portal.delay = delay
    source.portal.script["pingMeasuringAgent"] = answer


class TestOneOfMany:
    async def test_is_down_when_the_portal_is_fast(self) -> None:
        """A single late ping among fast ones must mark its agent as down."""
        source = rig(3, {2: LATE})

        poll = await source.source.poll("agents")

        assert {1: UP, 2: DEAD, 3: UP} == verdicts(poll.readings)
        assert ((), True, False) == (poll.failures, poll.asked, poll.vendor_slow)

    async def test_is_judged_after_a_cheap_call(self) -> None:
        """The cheap call must be sent after all pings, and only if one timed out."""
        source = rig(3, {})
        await source.readings("agents")
        source.portal.script["pingMeasuringAgent"] = lambda request: (
            LATE if request["agentId"] == 2 else "ok"
        )
        source.portal.requests.clear()

        await source.source.poll("agents")
        before = source.portal.asked

        assert ["getMeasuringAgents", *["pingMeasuringAgent"] * 3, PROOF] == before

    @pytest.mark.parametrize(
        "refusal", [LATE, reply(b"", 502), reply(b"", 401), {"isError": True}, b"<html>"]
    )
    async def test_is_not_judged_when_the_cheap_call_fails(self, refusal: Script) -> None:
        """A ping that timed out must not be judged if the cheap call fails, for any reason."""
        source = rig(3, {})
        before = await source.readings("agents")
        source.portal.script["pingMeasuringAgent"] = lambda request: (
            LATE if request["agentId"] == 2 else "ok"
        )
        source.portal.script[PROOF] = refusal

        poll = await source.source.poll("agents")

        assert verdicts(before) == verdicts(poll.readings)
        assert (True, True, False) == (poll.asked, poll.vendor_slow, poll.cut)
        assert [Reason.TIMEOUT] == [failure.reason for failure in poll.failures]

    async def test_is_not_judged_by_what_had_not_its_whole_time(self) -> None:
        """A time-out after other tries of the same call says nothing of the machine."""
        hurried = CallError(Reason.TIMEOUT, "pingMeasuringAgent: no reply in time")
        hurried.hurried = True
        source = rig(3, {2: hurried})

        poll = await source.source.poll("agents")

        assert {1: UP, 2: None, 3: UP} == verdicts(poll.readings)
        assert [(Reason.TIMEOUT, "2")] == [(each.reason, each.target) for each in poll.failures]
        assert poll.vendor_slow

    async def test_is_judged_by_the_silence_that_is_allowed(self) -> None:
        """Half of the time-out means half of `read_timeout` where that is shorter."""
        source = rig(3, {2: LATE}, timeout="30s", read_timeout="5s")
        taking(source, {}, others=3.0)
        source.portal.script["pingMeasuringAgent"] = lambda request: (
            LATE if request["agentId"] == 2 else "ok"
        )

        poll = await let_pass(source)

        assert {1: UP, 2: None, 3: UP} == verdicts(poll.readings)
        assert poll.vendor_slow

    async def test_is_down_beside_one_that_is_flagged(self) -> None:
        """A late ping beside a quick error must mark its agent as down."""
        source = rig(2, {1: "not_reachable", 2: LATE})

        poll = await source.source.poll("agents")

        assert {1: (False, Reason.NOT_REACHABLE), 2: DEAD} == verdicts(poll.readings)

    async def test_is_down_beside_many_whose_flags_take_long(self) -> None:
        """The portal waited for these machines, and was fast with all others."""
        source = rig(10, dict.fromkeys(range(1, 7), "not_reachable"))
        taking(source, {**dict.fromkeys(range(1, 7), 10.0), 7: 20.0})

        poll = await let_pass(source)

        assert DEAD == verdicts(poll.readings)[7]
        assert not poll.vendor_slow

    @pytest.mark.parametrize(("late", "count"), [(2, 9), (3, 13), (9, 40)])
    async def test_is_down_with_fewer_than_a_quarter(self, late: int, count: int) -> None:
        """Less than a quarter of late pings must mark their agents as down."""
        source = rig(count, dict.fromkeys(range(1, late + 1), LATE))

        poll = await source.source.poll("agents")

        assert [DEAD] * late == list(verdicts(poll.readings).values())[:late]
        assert not poll.vendor_slow

    @pytest.mark.parametrize(("late", "count"), [(2, 3), (2, 8), (3, 12), (10, 40)])
    async def test_is_not_judged_with_a_quarter_or_more(self, late: int, count: int) -> None:
        """A quarter of late pings or more must mark the portal as slow, and no agent as down."""
        source = rig(count, dict.fromkeys(range(1, late + 1), LATE))

        poll = await source.source.poll("agents")

        assert [None] * late == list(verdicts(poll.readings).values())[:late]
        assert (True, True) == (poll.asked, poll.vendor_slow)

    async def test_needs_no_cheap_call_to_accuse_nobody(self) -> None:
        """A slow portal is not asked for more than is needed."""
        source = rig(3, {1: LATE, 2: LATE})

        await source.source.poll("agents")

        assert [PROOF, "getMeasuringAgents", *["pingMeasuringAgent"] * 3] == source.portal.asked


class TestTheOnlyOne:
    async def test_is_down_after_three_polls(self) -> None:
        """A single agent must be down after three late polls."""
        source = rig(1, {})
        await source.readings("agents")
        source.portal.script["pingMeasuringAgent"] = LATE

        polls = [await source.source.poll("agents") for _ in range(4)]

        assert [UP, UP, DEAD, DEAD] == [verdicts(poll.readings)[1] for poll in polls]
        assert [True, True, False, False] == [poll.vendor_slow for poll in polls]
        assert [False, False, True, True] == [poll.asked for poll in polls]

    @pytest.mark.parametrize("between", ["ok", "not_reachable", reply(b"", 502)])
    async def test_anything_else_between_begins_anew(self, between: Script) -> None:
        """The three are to be in a row."""
        answers: list[Script] = [LATE, LATE, between, LATE, LATE]
        source = rig(1, {})
        source.portal.script["pingMeasuringAgent"] = lambda _: answers.pop(0)

        polls = [await source.source.poll("agents") for _ in range(5)]

        assert DEAD not in [verdicts(poll.readings)[1] for poll in polls]

    async def test_a_cheap_call_that_fails_begins_anew(self) -> None:
        """A cheap call that fails must begin the count of three polls again."""
        source = rig(1, {1: LATE})
        polls = []

        for proof in ("ok_inferred", "ok_inferred", LATE, "ok_inferred"):
            source.portal.script[PROOF] = proof
            polls.append(await source.source.poll("agents"))

        assert {None} == {verdicts(poll.readings)[1] for poll in polls}
        assert all(poll.vendor_slow for poll in polls)

    async def test_a_missing_connection_accuses_nobody_ever(self) -> None:
        """Without a connection to the portal nothing was asked of a target."""
        unconnected = CallError(Reason.TIMEOUT, "no connection in time", sent=False)
        source = rig(1, {1: unconnected})

        polls = [await source.source.poll("agents") for _ in range(5)]

        assert {None} == {verdicts(poll.readings)[1] for poll in polls}
        assert {(False, True)} == {(poll.asked, poll.vendor_slow) for poll in polls}

    async def test_of_many_that_was_sent_is_not_judged(self) -> None:
        """When the guard held all other pings back, the one that was sent must not be judged."""
        blocked = BlockedError("held back", retry_at=0.0)
        source = rig(3, {1: LATE, 2: blocked, 3: blocked})

        polls = [await source.source.poll("agents") for _ in range(5)]

        assert {None} == {verdict for poll in polls for verdict in verdicts(poll.readings).values()}
        assert {(False, True)} == {(poll.asked, poll.vendor_slow) for poll in polls}


class TestAPortalThatHangs:
    async def test_from_the_fifth_ping_of_six_on(self) -> None:
        """If the last two pings of six time out, the portal must be called slow, not the agents."""
        source = rig(6, {})
        before = await source.readings("agents")
        hanging_after(source.portal, 4)

        poll = await source.source.poll("agents")

        assert verdicts(before) == verdicts(poll.readings)
        assert (True, True) == (poll.asked, poll.vendor_slow)

    @pytest.mark.parametrize("after", [*range(0, 36, 5), 36, 37, 38, 39, 40])
    async def test_from_any_ping_on(self, after: int) -> None:
        """When the portal hangs from any ping on, every agent must keep its state."""
        source = rig(40, {})
        before = await source.readings("agents")
        hanging_after(source.portal, after)

        poll = await source.source.poll("agents")

        assert verdicts(before) == verdicts(poll.readings)
        assert (0 < after < 40) <= poll.asked
        assert (after < 40) == poll.vendor_slow

    async def test_on_every_ping_holds_its_task_down(self) -> None:
        """A task whose pings all time out must be down, though the list is still answered."""
        source = rig(5, {})
        await source.readings("agents")
        source.portal.script["pingMeasuringAgent"] = LATE

        polls = [await source.source.poll("agents") for _ in range(10)]

        assert {(False, True)} == {(poll.asked, poll.vendor_slow) for poll in polls}
        assert {UP} == {verdict for poll in polls for verdict in verdicts(poll.readings).values()}

    async def test_while_it_waits_for_other_things_as_well(self) -> None:
        """A time-out of the connection or of a proof must not count as a sign of life."""
        unconnected = CallError(Reason.TIMEOUT, "no connection in time", sent=False)
        unproven = BlockedError("the proof failed", retry_at=0.0, reason=Reason.TIMEOUT)
        source = rig(12, {1: LATE, 2: unconnected, 3: unproven})

        poll = await source.source.poll("agents")

        assert None is verdicts(poll.readings)[1]
        assert poll.vendor_slow

    async def test_keeps_nothing_when_it_is_well_again(self) -> None:
        """A poll without a time-out must not be slow, whatever the one before was."""
        source = rig(5, {})
        source.portal.script["pingMeasuringAgent"] = LATE
        await source.source.poll("agents")
        source.portal.script["pingMeasuringAgent"] = "ok"

        poll = await source.source.poll("agents")

        assert ((), True, False) == (poll.failures, poll.asked, poll.vendor_slow)


def hanging_after(portal: FakePortal, pings: int) -> None:
    """Let every call time out, except for the first pings."""
    answered = 0

    def ping(_: Any) -> Script:
        nonlocal answered
        answered += 1
        return "ok" if answered <= pings else LATE

    portal.script["pingMeasuringAgent"] = ping
    portal.script[PROOF] = lambda _: "ok_inferred" if answered < pings else LATE


class TestASlowPortal:
    @pytest.mark.parametrize("seed", range(5))
    async def test_accuses_none_of_twelve_healthy_agents(self, seed: int) -> None:
        """Agents that answer in 0.75 to 1.15 times the time-out must not be called down."""
        source = rig(12, {}, interval="10m")
        chance = Random(seed)  # noqa: S311 - repeatable, not secret
        taking(source, {n: chance.uniform(0.75, 1.15) * 15.0 for n in range(1, 13)})

        poll = await let_pass(source)

        assert {UP, None} >= {*verdicts(poll.readings).values()}
        assert (None in verdicts(poll.readings).values()) == poll.vendor_slow

    async def test_keeps_the_last_reading(self) -> None:
        """With the age that it has."""
        source = rig(3, {})
        (_, before, _) = await source.readings("agents")
        await source.time.advance(60)
        taking(source, {2: 15.0}, others=12.0)

        poll = await let_pass(source)

        assert before == poll.readings[1]
        assert before != poll.readings[0]
        assert poll.vendor_slow


async def test_a_budget_of_our_own_is_no_slowness() -> None:
    """Time that a call waited for `requests_per_minute` must not count as the portal's."""
    source = rig(3, {2: LATE})
    send = source.portal.send

    async def waiting(call: Any) -> Any:
        await source.time.clock.sleep(20.0)
        answer = await send(call)
        return type(answer)(status=answer.status, headers={}, body=answer.body, waited_seconds=20.0)

    source.portal.send = waiting  # type: ignore[method-assign]  # as the client with a budget does

    poll = await let_pass(source)

    assert {1: UP, 2: DEAD, 3: UP} == verdicts(poll.readings)


@pytest.mark.parametrize("late", [1, 3])
async def test_the_jobs_are_held_up_as_well(late: int) -> None:
    """A portal that hangs on the agents' jobs is slow, whatever it says of the agents."""
    jobs = "getMeasuringAgentTestjobs"
    source = rig(4, {})
    source.portal.script[jobs] = "none"
    await source.readings("agents")
    before = await source.readings("jobs")
    source.portal.script[jobs] = lambda request: (
        LATE if request["measuringAgentId"] <= late else "none"
    )
    await source.time.advance(1)

    poll = await source.source.poll("jobs")

    assert before[:late] == poll.readings[:late]
    assert {Reason.TIMEOUT} == {failure.reason for failure in poll.failures}
    assert (True, late > 1) == (poll.asked, poll.vendor_slow)


SECONDS = st.floats(0, 15)
CALLS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([Ending.ANSWERED, Ending.FLAGGED]), SECONDS),
        st.tuples(st.sampled_from([Ending.TIMED_OUT, Ending.FAILED, Ending.UNSENT]), st.just(15.0)),
    ),
    max_size=40,
)


def one_after_the_other(answers: list[Script]) -> Script:
    left = iter(answers)
    return lambda _: next(left)


class TestTheRule:
    @given(calls=CALLS)
    def test_accuses_only_with_evidence(self, calls: list[tuple[Ending, float]]) -> None:
        """Agents may be called down only if few pings were late and the others fast."""
        late = sum(ending is Ending.TIMED_OUT for ending, _ in calls)
        sent = sum(ending is not Ending.UNSENT for ending, _ in calls)
        answered = [seconds for ending, seconds in calls if ending is Ending.ANSWERED]

        accused = accuses(calls, timeout_seconds=15.0)

        if late >= 2 and late >= sent / 4:
            assert accused is False
        if answered and median(answered) >= 7.5 and not any(e is Ending.FLAGGED for e, _ in calls):
            assert not accused
        if not any(ending in (Ending.ANSWERED, Ending.FLAGGED) for ending, _ in calls):
            assert not accused

    @given(calls=CALLS, seed=st.randoms(use_true_random=False))
    def test_the_order_of_events_does_not_matter(
        self, calls: list[tuple[Ending, float]], seed: Random
    ) -> None:
        """The order of the pings must not matter."""
        shuffled = list(calls)
        seed.shuffle(shuffled)

        assert accuses(calls, timeout_seconds=15.0) is accuses(shuffled, timeout_seconds=15.0)

    @pytest.mark.parametrize(
        ("calls", "expected"),
        [
            ([], None),
            ([("TIMED_OUT", 15)], None),
            ([("TIMED_OUT", 15), ("FLAGGED", 9)], None),
            ([("TIMED_OUT", 15), ("FLAGGED", 0.1)], True),
            ([("TIMED_OUT", 15), ("ANSWERED", 7.4)], True),
            ([("TIMED_OUT", 15), ("ANSWERED", 7.5)], False),
            ([("TIMED_OUT", 15), ("FAILED", 15)], False),
            ([("TIMED_OUT", 15), ("UNSENT", 15)], False),
            ([("TIMED_OUT", 15), ("FAILED", 15), ("ANSWERED", 0.1)], True),
            ([("TIMED_OUT", 15)] * 2 + [("ANSWERED", 0.1)] * 6, False),
            ([("TIMED_OUT", 15)] * 2 + [("ANSWERED", 0.1)] * 7, True),
            ([("TIMED_OUT", 15)] * 2 + [("ANSWERED", 0.1)] * 6 + [("UNSENT", 15)] * 9, False),
            ([("TIMED_OUT", 15)] + [("ANSWERED", 0.1)] * 2 + [("ANSWERED", 14)] * 3, False),
            ([("TIMED_OUT", 15)] + [("ANSWERED", 0.1)] * 3 + [("ANSWERED", 14)] * 2, True),
        ],
    )
    def test_compares_with_the_other_calls(
        self, calls: list[tuple[str, float]], expected: bool | None
    ) -> None:
        """Examples at the edges of the rule, of a time-out of 15 s."""
        made = [(Ending[name], seconds) for name, seconds in calls]

        assert accuses(made, timeout_seconds=15.0) is expected

    @settings(max_examples=50)
    @given(
        polls=st.lists(
            st.lists(st.sampled_from(["ok", "not_reachable", LATE, reply(b"", 502)]), min_size=6),
            max_size=6,
        )
    )
    def test_nobody_is_accused_while_the_cheap_call_hangs(self, polls: list[list[Script]]) -> None:
        """While the cheap call hangs, no agent may be called down, whatever the pings say."""

        async def play() -> None:
            source = rig(6, {})
            await source.readings("agents")
            source.portal.script[PROOF] = LATE
            for answers in polls:
                source.portal.script["pingMeasuringAgent"] = one_after_the_other(answers)
                with suppress(PollError):  # the guard may hold the list back
                    poll = await source.source.poll("agents")
                    assert DEAD not in verdicts(poll.readings).values()

        asyncio.run(play())
