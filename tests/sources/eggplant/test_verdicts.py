"""Runs that are no longer listed are asked for, and only the vendor's own word is a verdict."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Agent, Outcome, Run
from tests.sources.eggplant.support import CLIENT, Bench, Server, fixture
from tests.support.clock import settle
from tests.support.restart import Restarts


if TYPE_CHECKING:
    from exporter.sources.base import Poll


HOUR = 3_600.0

#: 2026-02-03 09:20:00 UTC.
NOW = 1_770_110_400.0
RUN = "7b0f3f0e-2d1c-4c57-9a8e-0d2f6b1c1a01"
PASSED_AT = 1_770_110_500.004512
FAILED_AT = 1_770_110_282.73

IDLE = {"agent_name": "lab-win-02", "port": 5401, "process_id": 0}


def executing(run_id: str = RUN, status: object = "Running", **fields: Any) -> dict[str, Any]:
    """Return the entry of the agent with a run."""
    execution = {"id": run_id, "modelname": "Checkout", "status": status, "endtime": None}
    return {**IDLE, "process_id": 41220, "execution_status": execution, **fields}


def told(status: object, run_id: str = RUN, **fields: Any) -> tuple[int, bytes]:
    """Return the answer to a question for a run."""
    return 200, json.dumps({"id": run_id, "status": status, "endtime": None, **fields}).encode()


class Lab(Bench):
    """A source that can be restarted, and a server with scripted entries."""

    def __init__(self, *entries: dict[str, Any], **values: Any) -> None:
        super().__init__(Server(), **values)
        self.restarts = Restarts(self, self.clock)
        self.lists(*entries)

    def lists(self, *entries: Any) -> None:
        """Let the server answer with these entries from now on."""
        self.server.status = (200, json.dumps(entries).encode())

    def tells(self, status: int, body: bytes, run_id: str = RUN) -> None:
        """Set the server's answer to questions for a run."""
        self.server.progress[run_id] = (status, body)

    async def poll(self, *, after: float = 60.0) -> Poll:
        """Poll some time later."""
        self.clock.shift(after)
        poll = await self.source.poll("agents")
        self.restarts.known["agents"] = poll.readings
        self.restarts.memory["agents"] = poll.memory
        return poll

    async def run(self, *, after: float = 60.0) -> Run | None:
        """Poll some time later, and return the run, if it is shown."""
        poll = await self.poll(after=after)
        found = (each for each in poll.readings if isinstance(each, Run))
        return next((each for each in found if each.run_id == RUN), None)

    async def outcome(self, *, after: float = 60.0) -> tuple[str, Outcome | None]:
        """Poll some time later, and return phase and outcome of the run."""
        run = await self.run(after=after)
        assert run is not None
        return run.phase, run.outcome


async def gone(*entries: Any, **values: Any) -> Lab:
    """Return a source that saw the run in flight, at a server that does not list it any more."""
    lab = Lab(executing(), **values)
    await lab.poll(after=0)
    lab.lists(*entries)
    return lab


class TestAsking:
    @pytest.mark.parametrize(
        "entries",
        [(IDLE,), (executing("another"),), (), ({**IDLE, "process_id": 7},)],
        ids=["free", "at another", "gone", "silent"],
    )
    @pytest.mark.parametrize(
        ("name", "outcome", "end"),
        [
            ("run_progress.passed", Outcome.PASSED, PASSED_AT),
            ("run_progress.failed", Outcome.FAILED, FAILED_AT),
            ("run_progress.by_model", Outcome.PASSED, PASSED_AT),
        ],
    )
    async def test_brings_the_verdict(
        self, entries: tuple[Any, ...], name: str, outcome: Outcome, end: float
    ) -> None:
        """A run that left the list must get its own verdict in the same poll."""
        lab = await gone(*entries)
        lab.tells(200, fixture(name))

        run = await lab.run()

        assert run is not None
        assert ("ended", outcome, end) == (run.phase, run.outcome, run.end_timestamp_seconds)
        assert ("Checkout", "lab-win-02") == (run.run, run.agent)

    @pytest.mark.parametrize(
        ("word", "outcome"),
        [
            ("Passed", Outcome.PASSED),
            ("PASSED", Outcome.PASSED),
            ("failed", Outcome.FAILED),
            ("FAILED", Outcome.FAILED),
            ("InComplete", Outcome.INCOMPLETE),
        ],
    )
    async def test_reads_a_status_in_any_case(self, word: str, outcome: Outcome) -> None:
        """The vendor's spelling of a status decides nothing, in either reply."""
        asked = await gone(IDLE)
        asked.tells(*told(word))
        listed = Lab(executing(status=word, process_id=0))

        assert ("ended", outcome) == await asked.outcome()
        assert ("ended", outcome) == await listed.outcome()

    async def test_is_as_documented(self) -> None:
        """The question is a form with the run's id, under the token of the other call."""
        lab = await gone(IDLE)

        await lab.poll()

        (question,) = lab.server.questions
        assert ("POST", "/api/run/progress") == (question.method, question.url.path)
        assert {"id": [RUN]} == parse_qs(question.content.decode())
        assert "bearer given-token" == question.headers["authorization"]
        assert "application/x-www-form-urlencoded" == question.headers["content-type"]

    async def test_ends_with_the_verdict(self) -> None:
        """A run whose verdict is known must not be asked for any more."""
        lab = await gone(IDLE)
        lab.tells(*told("Failed"))

        outcomes = [await lab.outcome() for _ in range(5)]

        assert [("ended", Outcome.FAILED)] * 5 == outcomes
        assert [RUN] == lab.server.asked_for

    async def test_spares_runs_that_are_listed(self) -> None:
        """A run that is listed must not be asked for."""
        lab = Lab(executing(), {**executing("r2", "Passed", process_id=0), "agent_name": "b"})
        await lab.poll()
        lab.lists(executing())

        await lab.poll()

        assert [] == lab.server.asked_for

    async def test_spares_runs_whose_entry_may_be_the_unreadable_one(self) -> None:
        """An entry that cannot be read must leave the run in flight."""
        lab = await gone({"port": 5401})

        assert ("running", None) == await lab.outcome()
        assert [] == lab.server.asked_for

    async def test_goes_on_while_it_runs(self) -> None:
        """A run must be in flight for as long as the server says so."""
        lab = await gone()
        lab.tells(200, fixture("run_progress.running"))

        outcomes = [await lab.outcome() for _ in range(30)]
        lab.tells(200, fixture("run_progress.passed"))

        assert [("running", None)] * 30 == outcomes
        assert ("ended", Outcome.PASSED) == await lab.outcome()

    async def test_ends_after_an_hour(self) -> None:
        """A run that never ends must count as ended after an hour, without being asked for."""
        lab = await gone(IDLE)
        lab.tells(*told("running"))
        at_the_end = [await lab.outcome(), await lab.outcome(after=HOUR)]
        asked = len(lab.server.questions)

        after_it = [await lab.outcome(after=1), await lab.outcome(after=HOUR - 2)]

        assert [("running", None)] * 2 == at_the_end
        assert [("ended", None)] * 2 == after_it
        assert asked == len(lab.server.questions)
        assert await lab.run(after=2) is None

    @pytest.mark.parametrize("status", [200, 400, 404, 410, 422])
    @pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b"", b" [ ] "])
    async def test_takes_nothing_known_for_an_answer(self, status: int, body: bytes) -> None:
        """A run that the server does not know has no verdict, and the source no fault."""
        lab = await gone(IDLE)
        lab.tells(status, body)

        polls = [await lab.poll() for _ in range(30)]

        assert [()] * 30 == [poll.failures for poll in polls]
        assert ("ended", None) == await lab.outcome()
        assert 10 == len(lab.server.questions)
        assert not lab.source.blocked

    async def test_outlasts_answers_in_vain(self) -> None:
        """A result that takes a while to be there is found."""
        lab = await gone(IDLE)
        early = [await lab.outcome() for _ in range(5)]
        lab.tells(*told("Passed"))

        late = await lab.outcome()

        assert [("ended", None)] * 5 == early
        assert ("ended", Outcome.PASSED) == late

    @pytest.mark.parametrize("entries", [(IDLE,), ()])
    async def test_takes_a_denial_for_final(self, entries: tuple[Any, ...]) -> None:
        """A run of a model that is not for us is asked for once, and nothing is refused by it."""
        lab = await gone(*entries)
        lab.tells(403, b"{}")

        polls = [await lab.poll() for _ in range(5)]

        assert [()] * 5 == [poll.failures for poll in polls]
        assert [RUN] == lab.server.asked_for
        assert not lab.source.auth_failed
        assert 0 == lab.source.refusals

    @pytest.mark.parametrize(
        "body",
        [
            told("Passed", run_id="another")[1],
            told("Passed", run_id=RUN.upper())[1],
            b'{"status": "Passed"}',
            b'[{"id": "another", "status": "Passed"}]',
            b'[{"status": "Passed"}, null, 5]',
            told("Completed")[1],
            told(None)[1],
            told(["Passed"])[1],
            told("Passed?")[1],
        ],
    )
    async def test_believes_only_what_is_said_of_the_run(self, body: bytes) -> None:
        """Another run's verdict, or an unknown word, must not count."""
        lab = await gone(IDLE)
        lab.tells(200, body)

        assert ("ended", None) == await lab.outcome()

    async def test_counts_an_unknown_word(self) -> None:
        """An unknown status must be a surprise."""
        lab = await gone(IDLE)
        lab.tells(*told("Completed"))

        await lab.poll()

        assert 1 == lab.count("vendor_surprises_total", kind="enum")

    async def test_lets_a_run_linger_after_its_end(self) -> None:
        """`run_linger` must begin at the run's own end."""
        lab = await gone(IDLE, run_linger="1h")
        lab.tells(*told("Passed", endtime="2026-02-03 09:20:30+00"))

        at_the_end = [await lab.run(), await lab.run(after=HOUR - 30)]

        assert [Outcome.PASSED] * 2 == [run and run.outcome for run in at_the_end]
        assert await lab.run(after=1) is None


class TestTrouble:
    @pytest.mark.parametrize(
        ("status", "body", "reason"),
        [
            (500, b"", Reason.HTTP_5XX),
            (503, b"", Reason.HTTP_5XX),
            (302, b"", Reason.HTTP_4XX),
            (200, b"<html>", Reason.DECODE),
            (200, b'"x"', Reason.DECODE),
        ],
    )
    async def test_is_told_and_passes(self, status: int, body: bytes, reason: Reason) -> None:
        """A question without an answer costs no agent's reading, and is put again."""
        lab = await gone(IDLE)
        lab.tells(status, body)
        poll = await lab.poll()

        lab.tells(200, fixture("run_progress.failed"))

        assert [(reason, RUN)] == [(each.reason, each.target) for each in poll.failures]
        assert [True] == [
            each.state.up for each in poll.readings if isinstance(each, Agent) and each.state
        ]
        assert ("ended", Outcome.FAILED) == await lab.outcome()

    async def test_keeps_a_run_in_flight_that_was_said_to_run(self) -> None:
        """An answer that failed does not undo the one before."""
        lab = await gone(IDLE)
        lab.tells(*told("Running"))
        await lab.poll()
        lab.tells(500, b"")

        assert ("running", None) == await lab.outcome()

    async def test_of_one_run_does_not_hold_up_the_others(self) -> None:
        """With a run that cannot be asked for, the others have their turn in the next poll."""
        lab = Lab(*(executing(f"r{number}") | {"agent_name": f"a{number}"} for number in range(4)))
        for number in range(4):
            lab.tells(*told("Passed", f"r{number}"), run_id=f"r{number}")
        lab.tells(500, b"", run_id="r0")
        await lab.poll()
        lab.lists()
        await lab.poll()

        poll = await lab.poll()

        assert {"r0": None, "r1": True, "r2": True, "r3": True} == {
            run.run_id: run.passed for run in poll.readings if isinstance(run, Run)
        }

    async def test_of_a_server_that_hangs_does_not_hold_up_the_agents(self) -> None:
        """A poll waits for an answer for a part of the time-out only; it counts when it comes."""
        lab = await gone(IDLE, timeout="200ms")
        answer = asyncio.Event()
        lab.server.progress_gate = answer.wait
        lab.tells(*told("Passed"))

        poll = await lab.poll()
        answer.set()
        await settle()
        lab.server.progress_gate = None

        assert [(Reason.TIMEOUT, RUN)] == [(each.reason, each.target) for each in poll.failures]
        assert ("ended", Outcome.PASSED) == await lab.outcome()
        assert [RUN] == lab.server.asked_for

    async def test_is_none_while_the_server_answers(self) -> None:
        """Questions that the poll has no time for must not be failures."""
        entries = [executing(f"r{number}") | {"agent_name": f"a{number}"} for number in range(2)]
        lab = Lab(*entries, timeout="200ms")
        await lab.poll()
        lab.lists()
        never = asyncio.Event()

        async def hang() -> None:
            if len(lab.server.questions) == 2:
                await never.wait()

        lab.server.progress_gate = hang

        poll = await lab.poll()

        assert (2, ()) == (len(lab.server.questions), poll.failures)
        await lab.source.aclose()

    async def test_is_bounded(self) -> None:
        """A poll must ask for twenty runs at most, however many left the list at once."""
        lab = Lab(*(executing(f"r{number}") | {"agent_name": f"a{number}"} for number in range(50)))
        for number in range(50):
            lab.tells(*told("Passed", f"r{number}"), run_id=f"r{number}")
        await lab.poll()
        lab.lists()

        counts = []
        for _ in range(4):
            await lab.poll()
            counts.append(len(lab.server.questions))

        assert [20, 40, 50, 50] == counts

    async def test_with_a_token_that_is_over_is_none(self) -> None:
        """A token that is refused to a question is renewed once, and the answer comes."""
        lab = await gone(IDLE, auth=CLIENT)
        lab.tells(200, fixture("run_progress.passed"))

        async def revoke() -> None:
            if len(lab.server.questions) == 1:
                lab.server.accepted.clear()

        lab.server.progress_gate = revoke

        assert ("ended", Outcome.PASSED) == await lab.outcome()
        assert (2, 2) == (len(lab.server.logins), len(lab.server.questions))
        await settle()
        assert 1 == lab.source.refusals

    @pytest.mark.parametrize("status", [403, 404])
    async def test_with_a_login_says_nothing_of_the_run(self, status: int) -> None:
        """A question that failed for lack of a token must be asked again when there is one."""
        lab = await gone(IDLE, auth=CLIENT)
        lab.tells(200, fixture("run_progress.passed"))

        async def revoke() -> None:
            if len(lab.server.questions) == 1:
                lab.server.accepted.clear()
                lab.server.login = (status, b"{}")

        lab.server.progress_gate = revoke

        poll = await lab.poll()
        lab.server.login = None

        assert [RUN] == [failure.target for failure in poll.failures]
        assert ("ended", Outcome.PASSED) == await lab.outcome(after=61)


class TestRestart:
    async def test_amid_a_run_that_ends_meanwhile(self) -> None:
        """The verdict of a run that ended during a restart must be asked for."""
        lab = await gone(IDLE)
        lab.tells(200, fixture("run_progress.failed"))

        lab.restarts.restart(down_seconds=60)

        assert ("ended", Outcome.FAILED) == await lab.outcome(after=0)

    async def test_between_two_questions(self) -> None:
        """The questions go on, and so does their hour."""
        lab = await gone(IDLE, run_linger="2h")
        lab.tells(500, b"")
        await lab.poll()
        lab.restarts.restart(down_seconds=HOUR)
        await lab.poll(after=0)
        asked = len(lab.server.questions)

        lab.restarts.restart(down_seconds=1)
        lab.tells(*told("Passed"))

        assert 2 == asked
        assert ("ended", None) == await lab.outcome(after=0)
        assert 2 == len(lab.server.questions)

    async def test_after_answers_in_vain(self) -> None:
        """Restarts must not lead to more questions about a run."""
        lab = await gone(IDLE)
        for _ in range(20):
            await lab.poll()
            lab.restarts.restart()

        assert 10 == len(lab.server.questions)

    async def test_keeps_a_verdict(self) -> None:
        """A verdict that was learnt is there after the restart, without another question."""
        lab = await gone(IDLE)
        lab.tells(200, fixture("run_progress.failed"))
        await lab.poll()

        lab.restarts.restart(down_seconds=60)

        assert ("ended", Outcome.FAILED) == await lab.outcome(after=0)
        assert [RUN] == lab.server.asked_for

    async def test_reads_a_memory_of_an_earlier_version(self) -> None:
        """A run kept by an older version must be judged and asked for."""
        lab = await gone(IDLE)
        run = {"run_id": RUN, "run": "Checkout", "phase": "running", "agent": "lab-win-02"}
        tracked = {"run": {**run, "passed": None}, "listed": NOW, "over": None}
        lab.restarts.memory["agents"] = json.dumps({"version": 1, "runs": [tracked]}).encode()

        lab.restarts.restart(down_seconds=60)

        assert ("ended", None) == await lab.outcome(after=0)
        lab.tells(*told("Failed"))
        assert ("ended", Outcome.FAILED) == await lab.outcome()


class TestStuck:
    async def test_is_a_run_without_an_engine(self) -> None:
        """A run that is said to run in no process does not, and its agent is free."""
        lab = Bench(Server(fixture("sut_status.zombie")))

        poll = await lab.source.poll("agents")

        (agent,) = [each for each in poll.readings if isinstance(each, Agent)]
        (run,) = [each for each in poll.readings if isinstance(each, Run)]
        assert agent.state is not None
        assert agent.state.busy is False
        assert ("stuck", None) == (run.phase, run.outcome)
        assert NOW - 10 * HOUR - 299.88 == run.start_timestamp_seconds

    @pytest.mark.parametrize(
        ("process_id", "phase"),
        [
            (0, "stuck"),
            ("0", "stuck"),
            (7, "running"),
            ("7", "running"),
            (None, "running"),
            ("", "running"),
            ("none", "running"),
            ([0], "running"),
        ],
    )
    @pytest.mark.parametrize("status", ["Running", "RUNNING"])
    async def test_is_judged_by_the_process_alone(
        self, process_id: object, phase: str, status: str
    ) -> None:
        """Only a process id of 0 says that no engine runs."""
        lab = Lab(executing(status=status, process_id=process_id))

        assert (phase, None) == await lab.outcome()

    async def test_lasts_and_ends(self) -> None:
        """A stuck run is in flight until it is gone, and is asked for like any other."""
        lab = Lab(executing(process_id=0))
        before = [await lab.outcome(), await lab.outcome(after=10 * HOUR)]
        lab.lists(IDLE)
        lab.tells(*told("Incomplete"))

        after = await lab.outcome()

        assert [("stuck", None)] * 2 == before
        assert ("ended", Outcome.INCOMPLETE) == after


class TestInternalError:
    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ('Internal Error: Failed to open model input file "BBCSport"\r\n\r\n', True),
            ("internal error", True),
            (" \r\n\tINTERNAL ERROR: x", True),
            ("Internal Error \ud83d", True),
            ("Executing action: Internal Error", False),
            ("", False),
            (None, None),
            (5, None),
            (["Internal Error"], None),
        ],
    )
    async def test_is_told_by_the_beginning_of_the_line(
        self, line: object, error: bool | None
    ) -> None:
        """An internal error must be found by the beginning of the last line."""
        run = await Lab(executing(last_log=line)).run()

        assert run is not None
        assert error is run.internal_error

    async def test_is_unknown_without_a_line(self) -> None:
        """The later edition of the reply has no such field."""
        run = await Lab(executing()).run()

        assert run is not None
        assert run.internal_error is None

    async def test_stays_known(self) -> None:
        """The internal error of a run must stay known after its end and after a restart."""
        lab = Lab(executing(last_log="Internal Error: x"))
        await lab.poll()
        lab.lists(executing(status="Failed"))
        listed = await lab.run()
        lab.lists(IDLE)
        lab.restarts.restart(down_seconds=60)

        asked = await lab.run()

        assert [True, True] == [run and run.internal_error for run in (listed, asked)]

    async def test_line_goes_nowhere(self) -> None:
        """The log line, which may hold anything, is in no reading, memory or explanation."""
        lab = Lab(executing(last_log="Internal Error: canary"))
        poll = await lab.poll()

        explanation = await lab.source.explain("run", RUN)

        assert "canary" not in repr((poll, explanation, vars(lab.source._client)))


_WORDS = st.sampled_from(["Running", "RUNNING", "Failed", "Incomplete", "Odd", "", None, 5])
_TOLD = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["r1", "r2", "r3", None]),
        "status": st.sampled_from(["Passed", "passed"]) | _WORDS,
        "endtime": st.sampled_from(["2026-02-03 09:20:30+00", "x", None]),
    },
)
_ENTRY = st.fixed_dictionaries(
    {"agent_name": st.sampled_from(["a", "b", ""])},
    optional={
        "port": st.sampled_from([1, 2]),
        "process_id": st.sampled_from([0, 7]),
        "execution_status": st.none() | _TOLD,
    },
)
_STEP = st.tuples(
    st.lists(_ENTRY, max_size=3),
    st.sampled_from([200, 200, 200, 403, 404, 500]),
    _TOLD | st.lists(_TOLD, max_size=2),
    st.sampled_from([1, 60, 3_600]),
    st.booleans(),
)


def passes(told: Any) -> set[str]:
    """Return the ids of the runs that have passed according to an answer."""
    parts = told if isinstance(told, list) else [told]
    return {
        part["id"]
        for part in parts
        if part and part.get("id") and str(part.get("status")).casefold() == "passed"
    }


@given(st.lists(_STEP, max_size=8))
def test_no_run_passes_without_the_word(steps: list[Any]) -> None:
    """A run may pass only if a reply said so of this very run."""

    async def play() -> None:
        lab = Lab()
        allowed: set[str] = set()
        for entries, status, answer, seconds, restarted in steps:
            lab.lists(*entries)
            for run_id in ("r1", "r2", "r3"):
                lab.tells(status, json.dumps(answer).encode(), run_id=run_id)
            allowed |= passes([entry.get("execution_status") for entry in entries])
            allowed |= passes(answer) if status == 200 else set()
            if restarted:
                lab.restarts.restart()
            try:
                poll = await lab.poll(after=seconds)
            except PollError:
                continue
            runs = [each for each in poll.readings if isinstance(each, Run)]
            assert {run.run_id for run in runs if run.passed} <= allowed
            assert all(run.outcome is None for run in runs if run.phase != "ended")

    asyncio.run(play())
