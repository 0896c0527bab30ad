"""The test of a master as a run: its phases, its numbers, and where one ends and another begins."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.fleet.readings import Outcome, Run
from tests.sources.locust.support import Master, own, reply, stats, with_requests, with_row


#: The clock's time when a bench is made.
BEGAN = "2023-11-14T22:13:20Z"
HOUR = 3_600.0


async def run_of(master: Master, reply_: Any = None, *, after: float = 0.0) -> Run | None:
    """Poll so many seconds later, and return the run."""
    master.clock.shift(after)
    if reply_ is not None:
        master.shows(reply_)
    return next(iter(await master.readings(Run)), None)


async def phase(master: Master, reply_: Any = None, *, after: float = 0.0) -> str | None:
    """Poll so many seconds later, and return the phase of the run."""
    run = await run_of(master, reply_, after=after)
    return None if run is None else run.phase


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("spawning", "booting"),
        ("running", "running"),
        ("cleanup", "stopping"),
        ("stopping", "stopping"),
    ],
)
async def test_has_a_phase_for_every_state_in_flight(state: str, expected: str) -> None:
    """The phases are those of all vendors."""
    assert expected == await phase(Master(reply(state=state)))


@pytest.mark.parametrize("name", ["no_worker", "two_idle", "standalone"])
async def test_has_no_run_before_the_first(name: str) -> None:
    """A master that has run nothing has no run."""
    master = Master(name)

    assert await run_of(master) is None
    assert await master.load() is None


async def test_has_no_run_in_a_process_without_runner() -> None:
    """The state `missing` must give no run."""
    master = Master(reply(state="missing"))

    assert await run_of(master) is None
    assert 0 == master.surprises("enum")


@pytest.mark.parametrize(("state", "surprise"), [("dancing", "enum"), ("", "missing_field")])
async def test_begins_and_ends_nothing_by_a_state_it_does_not_know(
    state: str, surprise: str
) -> None:
    """A run stays what it is, in a phase that is not known; none appears and none ends."""
    idle, flying = Master(reply(state=state)), Master("running")
    before = await run_of(flying)

    during = await run_of(flying, reply(state=state), after=15)
    after = await run_of(flying, "running", after=15)

    assert await run_of(idle) is None
    assert before is not None
    assert during is not None
    assert (before.run_id, "unknown", None) == (during.run_id, during.phase, during.outcome)
    assert before == after
    assert 1 == flying.surprises(surprise)


async def test_a_run_that_ended_stays_ended_in_an_unknown_state() -> None:
    """A run that has ended must stay ended, also in an unknown state."""
    master = Master("running")
    await run_of(master)
    await run_of(master, "stopped", after=15)

    assert "ended" == await phase(master, reply(state="dancing"), after=15)


async def test_a_whole_life() -> None:
    """A run keeps its id from its start to its end; it has no verdict."""
    master = Master("two_idle")
    idle = await run_of(master)

    phases = [
        await run_of(master, name, after=15)
        for name in ("spawning", "running", "stopping", "stopped")
    ]

    assert idle is None
    started = master.clock.unix - 45
    assert [
        ("2023-11-14T22:13:35Z", "locustfile.py", each, outcome, started, ended)
        for each, outcome, ended in (
            ("booting", None, None),
            ("running", None, None),
            ("stopping", None, None),
            ("ended", Outcome.NO_VERDICT, master.clock.unix),
        )
    ] == [
        (
            run.run_id,
            run.run,
            run.phase,
            run.outcome,
            run.start_timestamp_seconds,
            run.end_timestamp_seconds,
        )
        for run in phases
        if run is not None
    ]


async def test_does_not_know_when_a_run_began_that_it_found() -> None:
    """Locust does not say it, and the exporter came later."""
    run = await run_of(Master("running"))

    assert run is not None
    assert (BEGAN, None) == (run.run_id, run.start_timestamp_seconds)


async def test_shows_nothing_of_a_run_that_was_over_before() -> None:
    """The numbers of the last test stay for ever, and say nothing of when it was."""
    assert await run_of(Master("stopped")) is None


async def test_shows_an_end_for_a_while() -> None:
    """A run is shown for an hour after its end by default."""
    master = Master("running")
    await run_of(master)
    await run_of(master, "stopped", after=15)

    assert "ended" == await phase(master, after=HOUR)
    assert await phase(master, after=1) is None
    assert await master.load() is None


async def test_a_test_ends_when_its_last_worker_is_killed() -> None:
    """Locust ends it by itself."""
    master = Master("running")
    await run_of(master)

    assert "ended" == await phase(master, "all_missing", after=15)


async def test_goes_with_a_master_that_begins_anew() -> None:
    """A master that was started again has run nothing."""
    master = Master("running")
    await run_of(master)

    assert await phase(master, "two_idle", after=15) is None
    assert "running" == await phase(master, "running", after=15)


class TestNext:
    async def test_a_run_after_an_end_is_another(self) -> None:
        """Between the two the state was `stopped`."""
        master = Master("running")
        first = await run_of(master)
        await run_of(master, "stopped", after=15)

        second = await run_of(master, "running", after=15)

        assert first is not None
        assert second is not None
        assert first.run_id != second.run_id
        assert master.clock.unix == second.start_timestamp_seconds
        assert second.end_timestamp_seconds is None

    async def test_a_stop_and_a_start_between_two_looks_show_by_the_counts(self) -> None:
        """Users are being started, and the counts fell: it is another test."""
        master = Master(with_requests(100, "running"))
        first = await run_of(master)

        second = await run_of(master, with_requests(3, "spawning"), after=15)

        assert first is not None
        assert second is not None
        assert first.run_id != second.run_id

    async def test_counts_that_were_set_back_make_no_other_run(self) -> None:
        """A reset of the counts must not begin another run."""
        master = Master(with_requests(100, "running"))

        first = await run_of(master)
        second = await run_of(master, with_requests(3, "running"), after=15)

        assert first == second

    async def test_a_rebalance_makes_no_other_run(self) -> None:
        """A rebalance of users must not begin another run."""
        master = Master(with_requests(100, "running"))

        first = await run_of(master)
        second = await run_of(master, with_requests(100, "spawning"), after=15)
        third = await run_of(master, with_requests(200, "running"), after=15)

        assert first is not None
        assert second is not None
        assert (first.run_id, "booting") == (second.run_id, second.phase)
        assert first == third


class TestLoad:
    async def test_shows_the_aggregate(self) -> None:
        """The numbers are those of all requests together; times are in seconds."""
        labels = f'run_id="{BEGAN}",run="locustfile.py"'

        samples = await Master("running").samples()

        assert {
            f"locust_run_users{{{labels}}}": 3,
            f"locust_run_requests{{{labels}}}": 20,
            f"locust_run_failures{{{labels}}}": 8,
            f"locust_run_requests_per_second{{{labels}}}": 2.5,
            f"locust_run_failures_per_second{{{labels}}}": pytest.approx(7 / 6),
            f"locust_run_response_mean_seconds{{{labels}}}": pytest.approx(0.00458816204991308),
            f'locust_run_response_seconds{{{labels},percentile="95"}}': 0.008,
            f'locust_run_response_seconds{{{labels},percentile="99"}}': 0.008,
        } == own(samples, "locust_run_")

    async def test_has_no_times_before_the_first_request(self) -> None:
        """0 ms would be the fastest system there is."""
        data = stats("no_worker")
        data["stats"][-1]["response_time_percentile_0.99"] = None
        master = Master({**data, "state": "spawning"})

        load = await master.load()

        assert load is not None
        assert (0, 0, None, {}) == (
            load.requests,
            load.failures,
            load.response_mean_seconds,
            load.response_seconds,
        )

    async def test_has_no_rates_after_the_end(self) -> None:
        """Locust keeps the rates of the last seconds for ever; the counts are the test's."""
        master = Master("running")
        await run_of(master)
        master.shows("stopped")

        load = await master.load()

        assert load is not None
        assert (0, 13, 0) == (load.users, load.requests, load.failures)
        assert (None, None) == (load.requests_per_second, load.failures_per_second)
        assert {"95": 0.007, "99": 0.007} == load.response_seconds

    async def test_finds_the_aggregate_by_its_old_name(self) -> None:
        """Older versions call it `Total`."""
        load = await Master(with_row(name="Total", method=None)).load()

        assert load is not None
        assert 20 == load.requests

    async def test_takes_no_request_for_the_aggregate(self) -> None:
        """The last row must be the aggregate, whatever the requests are called."""
        data = stats("running")
        data["stats"].insert(0, {**data["stats"][0], "name": "Aggregated"})

        load = await Master(data).load()

        assert load is not None
        assert 20 == load.requests

    async def test_has_no_numbers_without_an_aggregate(self) -> None:
        """A sum of the rows would be wrong beyond 500 of them."""
        data = stats("running")
        del data["stats"][-1]

        load = await Master(data).load()

        assert load is not None
        assert (3, None, None) == (load.users, load.requests, load.response_mean_seconds)

    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            ("response_time_percentile_0.5", {"50": 0.25}),
            ("response_time_percentile_0.999", {"99.9": 0.25}),
            ("response_time_percentile_0.95", {"95": 0.25}),
            ("response_time_percentile_95", {}),
            ("response_time_percentile_x", {}),
            ("current_response_time_percentile_50", {}),
        ],
    )
    async def test_reads_the_percentile_out_of_the_key(
        self, key: str, expected: dict[str, float]
    ) -> None:
        """A locustfile chooses the percentiles; what is none of them is left out."""
        data = with_row()
        data["stats"][-1][key] = 250
        for old in {"response_time_percentile_0.95", "response_time_percentile_0.99"} - {key}:
            del data["stats"][-1][old]

        load = await Master(data).load()

        assert load is not None
        assert expected == load.response_seconds

    @pytest.mark.parametrize(
        "flat",
        [
            {"current_response_time_percentile_50": 3, "current_response_time_percentile_95": 8},
            {"current_response_time_percentile_1": None, "current_response_time_percentile_2": 8},
        ],
    )
    async def test_reads_the_replies_of_older_versions(self, flat: dict[str, Any]) -> None:
        """Flat percentiles, no count of workers and no percentiles per row are no surprise."""
        data = stats("running") | flat
        del data["current_response_time_percentiles"], data["worker_count"]
        for row in data["stats"]:
            del row["response_time_percentile_0.95"], row["response_time_percentile_0.99"]
        master = Master(data)

        load = await master.load()

        assert load is not None
        assert (20, {}) == (load.requests, load.response_seconds)
        assert 0 == sum(map(master.surprises, ("enum", "type", "missing_field")))

    @pytest.mark.parametrize("odd", [-1, None, "x", True, 10**400, [1], {}])
    async def test_leaves_odd_numbers_out(self, odd: Any) -> None:
        """An impossible value must be left out."""
        keys = ("num_failures", "current_rps", "current_fail_per_sec", "avg_response_time")
        data = with_row(**dict.fromkeys(keys, odd))
        master = Master({**data, "user_count": odd})

        load = await master.load()

        assert load is not None
        assert (None, None, None, None, None) == (
            load.users,
            load.failures,
            load.requests_per_second,
            load.failures_per_second,
            load.response_mean_seconds,
        )
        assert 20 == load.requests
