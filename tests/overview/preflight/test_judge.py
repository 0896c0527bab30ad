"""The checks of a preflight, each alone and all together, over given snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.alerts.settings import AlertingSettings
from exporter.errors import Reason
from exporter.fleet.readings import Outcome, Reading, Run, SuiteRun, Usual
from exporter.metrics.telemetry import SelfMetrics
from exporter.overview.picture import Facts, picture
from exporter.overview.preflight.report import Report, Status
from exporter.overview.problems import Judge
from exporter.overview.sources import FailureRow
from exporter.settings.preflights import PreflightSettings
from tests.overview.preflight.fleet import (
    Fleet,
    agent,
    change,
    cluster,
    fleet,
    jobs,
    member,
    source,
    suite,
    task,
    told,
)
from tests.support.clock import FakeClock
from tests.web import fakes
from tests.web.fakes import NOW, ago


BLAZEMETER = source("bm", task("runs"), task("agents"), provider="blazemeter")
EGGPLANT = source("egg", task("agents"), provider="eggplant")

ALPS = cluster("alps", member("a"), member("b"))

FAILED = FailureRow(timestamp_seconds=NOW.unix - 10, reason=Reason.TIMEOUT, message="no reply")


def outcome(settings: dict[str, Any], *readings: Reading, **facts: Any) -> Any:
    """Return what the only check says."""
    (check,) = fleet(*readings, **facts).judged(settings).checks
    return told(check)


class TestAgents:
    def test_all_are_fit(self) -> None:
        """A passed check must list no targets."""
        found = outcome({"agents": {}}, agent("a"), agent("b"))

        assert ("passed", "2 of 2 agents are fit", []) == found

    @pytest.mark.parametrize(
        ("facts", "result", "reason"),
        [
            ({"up": False, "reason": Reason.NOT_REACHABLE}, "failed", "is down (not reachable)"),
            ({"up": False}, "failed", "is down"),
            ({"outdated": True, "version": "4.8.1"}, "failed", "is outdated (4.8.1)"),
            ({"outdated": True}, "failed", "is outdated"),
            ({"active": False, "state": None}, "failed", "is inactive"),
            ({"up": None}, "unknown", "is not known to be up"),
            ({"state": None}, "unknown", "is not known to be up"),
        ],
    )
    def test_one_is_not(self, facts: dict[str, Any], result: str, reason: str) -> None:
        """Without a demand, all agents must be fit, and an unfit one have its reason."""
        found = outcome({"agents": {}}, agent("a"), agent("b", **facts))

        told_unknown = ", 1 is not known" if result == "unknown" else ""
        text = f"1 of 2 agents is fit, none may be unfit{told_unknown}"
        assert (result, text, [("b", result, reason)]) == found

    @pytest.mark.parametrize(
        ("demand", "expected"),
        [
            ({"min_up": 2}, ("passed", "2 of 4 agents are fit, 1 is not known")),
            ({"min_up": 3}, ("unknown", "2 of 4 agents are fit, 3 are needed, 1 is not known")),
            ({"min_up": 4}, ("failed", "2 of 4 agents are fit, 4 are needed, 1 is not known")),
            (
                {"max_down": 0},
                ("failed", "2 of 4 agents are fit, none may be unfit, 1 is not known"),
            ),
            ({"max_down": 1}, ("unknown", "2 of 4 agents are fit, 1 may be unfit, 1 is not known")),
            ({"max_down": 2}, ("passed", "2 of 4 agents are fit, 2 may be unfit, 1 is not known")),
            (
                {"min_up": 3, "max_down": 2},
                (
                    "unknown",
                    "2 of 4 agents are fit, 3 are needed, 2 may be unfit, 1 is not known",
                ),
            ),
        ],
    )
    def test_some_may_be_missing(self, demand: dict[str, int], expected: tuple[str, str]) -> None:
        """The numbers of fit, unfit and unknown agents must decide."""
        four = (agent("a"), agent("b"), agent("c", up=False), agent("d", state=None))

        found = outcome({"agents": demand}, *four)

        assert expected == found[:2]

    @pytest.mark.parametrize(("demand", "expected"), [({}, "failed"), ({"min_up": 0}, "passed")])
    def test_there_are_none(self, demand: dict[str, int], expected: str) -> None:
        """If no agent matches, the check must fail, unless none is needed."""
        found = outcome({"agents": {"include": "x", **demand}}, agent("a"))

        remedy = "; correct source, include or exclude, or check the inventory"
        text = f"no agent matches{remedy if expected == 'failed' else ''}"
        assert (expected, text, []) == found

    def test_those_that_are_not_chosen_do_not_count(self) -> None:
        """An expression is for whole names, and what is excluded may be in any state."""
        down = [agent(name, up=False) for name in ("ubuntu-old", "windows", "my-ubuntu")]

        found = outcome(
            {"agents": {"include": "ubuntu.*", "exclude": ".*-old"}}, agent("ubuntu-1"), *down
        )

        assert "1 of 1 agent is fit" == found[1]

    def test_what_the_vendor_has_ended_is_gone(self) -> None:
        """An agent that the vendor ended must not count, and count while it is up."""
        ended = agent("b", managed="vendor", up=False)

        found = outcome({"agents": {}}, agent("a", managed="vendor"), ended)

        assert ("passed", "1 of 1 agent is fit", []) == found

    def test_only_of_the_named_source(self) -> None:
        """An agent of another source is not needed, nor is that source."""
        silent = task("agents", up=False, unread=True, last_failure=FAILED)
        both = (source("prod"), source("lab", silent))

        found = outcome({"agents": {"source": "prod"}}, agent("a"), sources=both)

        assert "passed" == found[0]


class TestClusters:
    def test_is_fit_with_all_its_members(self) -> None:
        """Members are asked by their controller."""
        found = outcome({"clusters": {}}, ALPS)

        assert ("passed", "1 of 1 cluster is fit", []) == found

    @pytest.mark.parametrize(
        ("broken", "result", "reason"),
        [
            (cluster("alps"), "failed", "has no members"),
            (cluster("alps", member("a"), active=False), "failed", "is inactive"),
            (cluster("alps", member("a"), up=False), "failed", "is down"),
            (
                cluster("alps", up=False, reason=Reason.ACCESS_DENIED),
                "failed",
                "is down (access denied)",
            ),
            (cluster("alps", member("a"), outdated=True), "failed", "its controller is outdated"),
            (cluster("alps", member("a"), member("b", up=False)), "failed", "member b is down"),
            (
                cluster("alps", member("a", outdated=True, version="4.8")),
                "failed",
                "member a is outdated (4.8)",
            ),
            (cluster("alps", member("a", active=False)), "failed", "member a is inactive"),
            (
                cluster("alps", change(member("a"), state=None)),
                "unknown",
                "member a is not known to be up",
            ),
            (
                cluster("alps", change(member("a"), state=None), member("b", up=False)),
                "failed",
                "member b is down",
            ),
            (change(ALPS, state=None), "unknown", "is not known to be up"),
        ],
    )
    def test_is_not(self, broken: Reading, result: str, reason: str) -> None:
        """A broken part of a cluster must make it unfit, and failures come before unknowns."""
        found = outcome({"clusters": {}}, broken)

        assert (result, [("alps", result, reason)]) == (found[0], found[2])

    def test_one_may_be_missing(self) -> None:
        """A demand on clusters must not apply to agents."""
        two = (ALPS, cluster("jura", member("c", up=False)))

        found = outcome({"clusters": {"min_up": 1, "max_down": 1}}, *two)

        assert ("passed", "1 of 2 clusters is fit, 1 may be unfit") == found[:2]


class TestSuites:
    @pytest.mark.parametrize(
        ("facts", "result", "targets"),
        [
            ({}, "passed", []),
            ({"healthy": False}, "failed", ["is not runnable"]),
            ({"running": True}, "failed", ["has a run in flight"]),
            ({"running": None}, "unknown", ["the vendor does not report whether it runs"]),
            ({"healthy": None}, "unknown", ["the vendor does not report whether it can be run"]),
        ],
    )
    def test_can_be_run_and_does_not_run(
        self, facts: dict[str, Any], result: str, targets: list[str]
    ) -> None:
        """A suite is fit if it could be started now."""
        found = outcome({"suites": {}}, suite("checkout", **facts))

        assert (result, targets) == (found[0], [reason for _, _, reason in found[2]])

    @pytest.mark.parametrize(
        ("outcomes", "usual", "result", "targets"),
        [
            # 1.5 times 600 s is the limit, and allowed.
            ([(Outcome.PASSED, 900.0)], 600.0, "passed", []),
            (
                [(Outcome.PASSED, 1260.0)],
                600.0,
                "failed",
                ["took 21 min, 2.1 times as long as usual"],
            ),
            # A stopped run does not count as slow, nor hide the run before it.
            (
                [(Outcome.ABORTED, 30.0), (Outcome.PASSED, 1260.0)],
                600.0,
                "failed",
                ["took 21 min, 2.1 times as long as usual"],
            ),
            ([(Outcome.FAILED, 1260.0)], 600.0, "passed", []),
            ([(Outcome.PASSED, 1260.0)], None, "passed", []),
            ([(Outcome.PASSED, None)], 600.0, "passed", []),
        ],
    )
    def test_take_about_as_long_as_usual(
        self,
        outcomes: list[tuple[Outcome, float | None]],
        usual: float | None,
        result: str,
        targets: list[str],
    ) -> None:
        """The newest run that passed is compared with what is usual, if that is known."""
        runs = tuple(
            SuiteRun(run_id=f"{number}", outcome=each, duration_seconds=seconds)
            for number, (each, seconds) in enumerate(outcomes)
        )
        known = Usual(runs=20, duration_seconds=usual)
        reading = suite("checkout", history=runs, last_run=runs[0], usual=known)

        found = outcome({"suites": {"slower_than_usual": 1.5}}, reading)

        assert (result, targets) == (found[0], [reason for _, _, reason in found[2]])

    def test_pace_is_not_judged_unless_asked(self) -> None:
        """A suite that takes longer and longer can still be run."""
        run = SuiteRun(run_id="1", outcome=Outcome.PASSED, duration_seconds=9_000.0)
        reading = suite(
            "checkout", history=(run,), last_run=run, usual=Usual(runs=20, duration_seconds=60.0)
        )

        assert outcome({"suites": {}}, reading)[0] == "passed"

    def test_of_a_vendor_that_does_not_tell_whether_it_can_be_run(self) -> None:
        """A suite known by its runs only must be fit when no run is in flight."""
        known = {("bm", "runs"): (suite("soak", healthy=None),)}

        (check,) = Fleet(sources=(BLAZEMETER,), known=known).judged({"suites": {}}).checks

        assert ("passed", "1 of 1 suite is fit", []) == told(check)


class TestClock:
    @pytest.mark.parametrize(
        ("delta", "result", "targets"),
        [
            (1.0, "passed", []),
            (-1.0, "passed", []),
            (
                -2.5,
                "failed",
                [("a", "failed", "its clock is off by \N{MINUS SIGN}2.5 s, 1 s is allowed")],
            ),
            (None, "unknown", [("a", "unknown", "the vendor does not report its clock")]),
        ],
    )
    def test_of_each_agent(self, delta: float | None, result: str, targets: list[Any]) -> None:
        """A clock may be ahead or behind by the limit."""
        found = outcome({"clock": "1s"}, agent("a", clock_delta_seconds=delta))

        assert (result, targets) == (found[0], found[2])

    def test_what_is_demanded_of_agents_holds(self) -> None:
        """If one agent may be unfit, one agent may be down or have a wrong clock."""
        three = (agent("a"), agent("b"), agent("c", clock_delta_seconds=60.0))
        settings = {"agents": {"max_down": 1}, "clock": "1s"}

        wrong = fleet(*three).judged(settings)
        worse = fleet(agent("a", up=False), *three[1:]).judged(settings)

        assert [
            (Status.FIT, "2 of 3 agents are up with the right clock, 1 may be unfit"),
            (Status.NOT_FIT, "1 of 3 agents is up with the right clock, 1 may be unfit"),
        ] == [(each.status, each.checks[1].reason) for each in (wrong, worse)]


class TestUsers:
    @pytest.mark.parametrize(
        ("agents", "expected"),
        [
            ([agent("a"), agent("b")], ("passed", "may carry 200 users, 200 are needed")),
            ([agent("a")], ("failed", "may carry 100 users, 200 are needed")),
            ([agent("a", users_limit=1.0)], ("failed", "may carry 1 user, 200 are needed")),
            (
                [agent("a", users_limit=float("inf"))],
                ("passed", "may carry any number of users, 200 are needed"),
            ),
            (
                [agent("a"), agent("b", users_limit=None)],
                (
                    "unknown",
                    "may carry 100 users, 200 are needed; 1 fit agent has no known limit",
                ),
            ),
            ([agent("a"), agent("b", up=None)], ("unknown", "may carry 100 users, 200 are needed")),
            ([agent("a"), agent("b", up=False)], ("failed", "may carry 100 users, 200 are needed")),
            (
                [agent("a"), agent("b", up=None, users_limit=99.0)],
                ("failed", "may carry 100 users, 200 are needed"),
            ),
            (
                [agent("a"), agent("b", state=None)],
                ("unknown", "may carry 100 users, 200 are needed"),
            ),
        ],
    )
    def test_of_the_fit_agents(self, agents: list[Reading], expected: tuple[str, str]) -> None:
        """The check must fail only if agents that may be fit could not carry the users either."""
        found = outcome({"users": 200}, *agents)

        assert (expected[0], f"the fit agents {expected[1]}") == found[:2]

    def test_names_whose_limit_is_not_known(self) -> None:
        """An agent without a known limit must be listed, like one that is down."""
        found = outcome({"users": 200}, agent("a", users_limit=None), agent("b", up=False))

        assert [
            ("b", "failed", "is down"),
            ("a", "unknown", "its limit of users is not known"),
        ] == found[2]

    def test_of_a_private_location(self) -> None:
        """In a private location, an agent must carry the users of its engines."""
        cellar = fakes.location(agents_up=1.0, slots=4.0, threads_per_engine=500.0)
        agents = (agent("a", location="cellar", users_limit=None),)

        found = fleet(*agents, cellar, sources=(BLAZEMETER,)).judged({"users": 2000})

        assert (Status.FIT, 2000.0) == (found.status, found.capacity.users)

    @pytest.mark.parametrize("slots", [(4.0, 1.0), (1.0, 4.0)])
    def test_two_locations_of_one_name(self, slots: tuple[float, float]) -> None:
        """An agent of an ambiguous location must count as in the smaller one."""
        locations = [
            fakes.location(location_id=f"{each}", slots=each, threads_per_engine=50.0)
            for each in slots
        ]
        agents = (agent("a", location="cellar", users_limit=None),)

        found = fleet(*agents, *locations, sources=(BLAZEMETER,)).judged({"users": 2000})

        assert 50.0 == found.capacity.users


class TestIdle:
    @pytest.mark.parametrize(
        ("running", "expected"),
        [
            (0.0, ("passed", [])),
            (1.0, ("failed", [("a", "failed", "runs 1 job")])),
            (3.0, ("failed", [("a", "failed", "runs 3 jobs")])),
            (None, ("unknown", [("a", "unknown", "the vendor does not report what runs on it")])),
        ],
    )
    def test_by_its_jobs(self, running: float | None, expected: Any) -> None:
        """With Real Load, an agent must be idle by its jobs."""
        found = outcome({"idle": True}, agent("a"), jobs("a", running))

        assert expected == (found[0], found[2])

    def test_without_the_task_jobs(self) -> None:
        """Without the task `jobs`, the check must be unknown and say which task to switch on."""
        without = source("prod", task("agents"), task("suites"))

        found = outcome({"idle": True}, agent("a"), sources=(without,))

        text = "the vendor does not report what runs on it; switch on its task jobs"
        assert ("unknown", [("a", "unknown", text)]) == (found[0], found[2])

    @pytest.mark.parametrize(
        ("busy", "expected"),
        [
            (False, ("passed", [])),
            (True, ("failed", [("a", "failed", "is busy")])),
            (None, ("unknown", [("a", "unknown", "the vendor does not report what runs on it")])),
        ],
    )
    @pytest.mark.parametrize("vendor", [EGGPLANT, BLAZEMETER], ids=lambda row: row.provider)
    def test_by_its_own_word(self, vendor: Any, busy: bool | None, expected: Any) -> None:
        """With other vendors, an agent must be idle by its own state."""
        found = outcome({"idle": True}, agent("a", busy=busy), sources=(vendor,))

        assert expected == (found[0], found[2])

    def test_by_a_run_that_names_it(self) -> None:
        """A run in flight occupies its agent even if nothing is executed just now."""
        run = Run(run_id="9", run="basket", phase="stuck", agent="a")

        found = outcome({"idle": True}, agent("a", busy=False), run, sources=(EGGPLANT,))

        assert [("a", "failed", "basket runs on it")] == found[2]

    @pytest.mark.parametrize("place", [{"agent_id": "id-a"}, {"cluster_id": "id-alps"}])
    def test_by_a_suite_that_runs_there(self, place: dict[str, Any]) -> None:
        """Between two jobs of a suite its agents are not idle, be they members of its cluster."""
        running = suite("checkout", running=True, **place)
        waiting = suite("search", agent_id="id-c")
        rest = [agent("c"), jobs("a"), jobs("c"), cluster("alps", member("a"))]

        found = outcome({"idle": True}, agent("a"), running, waiting, *rest)

        assert [("a", "failed", "checkout runs on it")] == found[2]

    def test_while_the_suites_are_not_known(self) -> None:
        """An agent without jobs may be one on which a suite runs."""
        tasks = (task("agents"), task("jobs"), task("suites", unread=True, last_failure=FAILED))

        found = outcome({"idle": True}, agent("a"), jobs("a"), sources=(source("prod", *tasks),))

        text = "the suites of prod are not known: the newest poll failed (timeout)"
        assert ("unknown", f"1 of 1 agent is up and idle; {text}", []) == found

    def test_one_that_is_down_is_not_idle(self) -> None:
        """An agent that is down must have that as its reason."""
        found = outcome({"idle": True}, agent("a", up=False, busy=True))

        assert [("a", "failed", "is down")] == found[2]


class TestAge:
    def test_readings_are_recent(self) -> None:
        """All that is needed was read within the time, to the second."""
        found = outcome({"max_age": "3m"}, agent("a", age=180))

        assert ("passed", "1 of 1 agent was read within 3 min", []) == found

    def test_of_all_kinds_that_are_needed(self) -> None:
        """Agents, clusters and suites must be reported one after the other."""
        settings = {"agents": {"max_down": 1}, "clusters": {}, "suites": {}, "max_age": "3m"}
        old = cluster("alps", member("a"), read_at=ago(181))

        check = fleet(agent("a"), agent("b", age=181), old, suite("s")).judged(settings).checks[-1]

        assert (
            "unknown",
            (
                "1 of 2 agents was read within 3 min, 1 may be unfit, 1 is not known;"
                " 0 of 1 cluster was read within 3 min, none may be unfit, 1 is not known;"
                " 1 of 1 suite was read within 3 min"
            ),
            [
                ("b", "unknown", "was not read within 3 min"),
                ("alps", "unknown", "was not read within 3 min"),
            ],
        ) == told(check)

    @pytest.mark.parametrize(
        ("settings", "readings"),
        [
            ({"agents": {}}, [agent("a", age=181)]),
            ({"agents": {}}, [agent("a", age=181, up=False)]),
            ({"clock": "1s"}, [agent("a", age=181, clock_delta_seconds=60.0)]),
            ({"idle": True}, [agent("a", age=181), jobs("a")]),
            ({"clusters": {}}, [cluster("alps", member("a", up=False), read_at=ago(181))]),
        ],
    )
    def test_of_what_is_old_nothing_is_known(
        self, settings: dict[str, Any], readings: list[Reading]
    ) -> None:
        """A target whose reading is too old must be unknown, neither fit nor unfit."""
        check = fleet(*readings).judged({**settings, "max_age": "3m"}).checks[0]

        assert ("unknown", "was not read within 3 min") == (
            check.result,
            check.targets[0].reason,
        )

    def test_of_old_suites(self) -> None:
        """Suites are as old as their snapshot."""
        found = fleet(suite("s", running=True), age=181).judged({"suites": {}, "max_age": "3m"})

        assert ["unknown", "unknown", "unknown"] == [
            *(each.result for each in found.checks),
            found.checks[0].targets[0].result,
        ]

    def test_of_what_is_asked(self) -> None:
        """A preflight of suites alone must need no agent."""
        report = fleet(suite("s")).judged({"suites": {}, "max_age": "3m"})

        assert "1 of 1 suite was read within 3 min" == report.checks[1].reason

    def test_of_old_jobs(self) -> None:
        """Old jobs must be unknown, even with a fresh ping."""
        settings = {"idle": True, "max_age": "3m"}

        check = fleet(agent("a"), jobs("a", age=181)).judged(settings).checks[0]

        assert [("a", "unknown", "its jobs were not read within 3 min")] == told(check)[2]

    @pytest.mark.parametrize("facts", [{"state": None}, {"age": 181}], ids=["none", "old"])
    def test_inactive_is_told_by_the_list(self, facts: dict[str, Any]) -> None:
        """An agent that is not pinged has no reading and is unfit nevertheless."""
        inactive = agent("a", active=False, **facts)

        check = fleet(inactive).judged({"agents": {}, "max_age": "3m"}).checks[0]

        assert [("a", "failed", "is inactive")] == told(check)[2]


class TestLists:
    @pytest.mark.parametrize(
        ("facts", "why"),
        [
            (
                {
                    "up": None,
                    "last_attempt_timestamp_seconds": None,
                    "last_success_timestamp_seconds": None,
                },
                "they were not polled yet",
            ),
            (
                {"up": False, "unread": True, "last_failure": FAILED},
                "the newest poll failed (timeout)",
            ),
            ({"up": False, "unread": True}, "the newest poll was skipped"),
            (
                {"up": False, "last_success_timestamp_seconds": None, "last_failure": FAILED},
                "the newest poll failed (timeout)",
            ),
            # A failing task's targets are kept for three intervals.
            (
                {
                    "up": False,
                    "last_success_timestamp_seconds": NOW.unix - 181,
                    "last_failure": FAILED,
                },
                "the newest poll failed (timeout)",
            ),
        ],
    )
    @pytest.mark.parametrize(
        ("settings", "lister"),
        [
            ({"agents": {}}, "agents"),
            ({"clock": "1s"}, "agents"),
            ({"users": 200}, "agents"),
            ({"clusters": {}}, "clusters"),
            ({"suites": {}}, "suites"),
        ],
    )
    def test_are_not_known(
        self, settings: dict[str, Any], lister: str, facts: dict[str, Any], why: str
    ) -> None:
        """While a list of targets may be incomplete, no fleet may be fit."""
        lab = source("lab", task(lister, **facts))

        found = outcome(settings, agent("a"), ALPS, suite("s"), sources=(source(), lab))

        assert "unknown" == found[0]
        assert found[1].endswith(f"; the {lister} of lab are not known: {why}")

    @pytest.mark.parametrize(
        "facts",
        [
            {"last_success_timestamp_seconds": None, "last_failure": FAILED, "failing": True},
            {"last_success_timestamp_seconds": NOW.unix - 9_000, "last_failure": FAILED},
            {"up": False, "last_success_timestamp_seconds": NOW.unix - 180},
        ],
        ids=["a ping fails", "a ping has failed for long", "one poll failed"],
    )
    def test_are_known(self, facts: dict[str, Any]) -> None:
        """A list stands although some pings fail, or one poll did."""
        found = outcome(
            {"agents": {}}, agent("a"), sources=(source("prod", task("agents", **facts)),)
        )

        assert "passed" == found[0]

    def test_are_as_old_as_readings_may_be(self) -> None:
        """A list older than `max_age` must make the check unknown."""
        old = task("agents", last_attempt_timestamp_seconds=NOW.unix - 181)
        settings = {"agents": {}, "max_age": "3m"}

        check = fleet(agent("a"), sources=(source("prod", old),)).judged(settings).checks[0]

        assert (
            "unknown",
            (
                "1 of 1 agent is fit;"
                " the agents of prod are not known: their list was not read within 3 min"
            ),
        ) == told(check)[:2]

    def test_do_not_matter_where_enough_is_known(self) -> None:
        """Ten are ten, however many more there are."""
        lab = source("lab", task("agents", unread=True))
        settings = {"agents": {"min_up": 1}}

        found = outcome(settings, agent("a"), sources=(source(), lab))

        assert "passed" == found[0]

    def test_fail_where_enough_is_known(self) -> None:
        """Too many are unfit, however many more there are."""
        lab = source("lab", task("agents", unread=True))

        found = outcome({"agents": {}}, agent("a", up=False), sources=(source(), lab))

        assert "failed" == found[0]

    def test_of_a_source_that_is_not_there(self) -> None:
        """A source that a reload removed must make the preflight unknown."""
        found = outcome({"agents": {"source": "gone"}}, agent("a"))

        assert ("unknown", "there is no source gone", []) == found


class TestMembers:
    """Without agents of their own, checks are about the members of the clusters."""

    def test_count_alone(self) -> None:
        """An agent that is in no chosen cluster is not needed."""
        outside = agent("c", clock_delta_seconds=60.0)
        report = fleet(agent("a"), agent("b"), outside, ALPS).judged(
            {"clusters": {}, "clock": "1s"}
        )

        assert (Status.FIT, 2) == (report.status, report.agents_fit)

    def test_that_are_no_agents(self) -> None:
        """A member that is not among the agents must have an unknown clock."""
        check = fleet(agent("a"), ALPS).judged({"clusters": {}, "clock": "1s"}).checks[1]

        text = "1 member of the clusters is not among the agents"
        assert ("unknown", f"1 of 1 agent is up with the right clock; {text}", []) == told(check)

    def test_of_clusters_that_are_not_known(self) -> None:
        """If the clusters are not known, neither are their members."""
        tasks = (task("agents"), task("clusters", unread=True))
        settings = {"clusters": {}, "clock": "1s"}

        report = fleet(agent("a"), sources=(source("prod", *tasks),)).judged(settings)

        text = "the clusters of prod are not known: the newest poll was skipped"
        assert [("unknown", text), ("unknown", text)] == [told(each)[:2] for each in report.checks]


EVERYTHING = {
    "agents": {"max_down": 1},
    "clusters": {"include": "alps"},
    "suites": {"include": "checkout"},
    "clock": "1s",
    "users": 200,
    "idle": True,
    "max_age": "3m",
}

WELL = (
    *(each for name in "abc" for each in (agent(name), jobs(name))),
    ALPS,
    suite("checkout"),
    suite("other", running=True),
)


class TestAll:
    def test_are_in_the_order_of_the_settings(self) -> None:
        """The checks of a fit fleet must be in the settings' order."""
        report = fleet(*WELL).judged(EVERYTHING)

        assert (Status.FIT, [*EVERYTHING]) == (report.status, [each.name for each in report.checks])

    @pytest.mark.parametrize(
        ("trouble", "status", "failed"),
        [
            ([agent("d", up=False)], Status.FIT, []),
            (
                [agent("d", up=False), agent("e", up=False)],
                Status.NOT_FIT,
                ["agents", "clock", "idle"],
            ),
            ([cluster("alps", member("a", up=False))], Status.NOT_FIT, ["clusters"]),
            ([suite("checkout", running=True)], Status.NOT_FIT, ["suites"]),
            ([suite("checkout", running=None)], Status.NOT_KNOWN, ["suites"]),
            (
                [suite("checkout", running=None), cluster("alps", active=False)],
                Status.NOT_FIT,
                ["clusters", "suites"],
            ),
        ],
    )
    def test_the_worst_counts(
        self, trouble: list[Reading], status: Status, failed: list[str]
    ) -> None:
        """One failed check must make the fleet unfit, and one unknown check make it unknown."""
        report = fleet(*WELL, *trouble).judged(EVERYTHING)

        assert (status, failed) == (
            report.status,
            [each.name for each in report.checks if each.result != "passed"],
        )

    def test_one_agent_counts_once(self) -> None:
        """If one agent may be unfit, two agents with different faults must fail the preflight."""
        two = (agent("d", clock_delta_seconds=9.0), jobs("d"), agent("e"), jobs("e", 1.0))

        report = fleet(*WELL, *two).judged(EVERYTHING)

        assert ["agents"] == [each.name for each in report.checks if each.result == "failed"]


@pytest.mark.parametrize("age", [30, 500], ids=["recent", "old"])
def test_time_alone_changes_no_word(age: float) -> None:
    """A report must not change while only time passes."""
    known = fleet(agent("a", age=age), jobs("a"), ALPS, suite("checkout"), age=age)

    assert known.judged(EVERYTHING) == known.judged(EVERYTHING, later=60)


class TestWindow:
    # NOW is 2023-11-14 22:13:20 UTC, a Tuesday.
    @pytest.mark.parametrize(
        ("window", "expected"),
        [
            (None, (False, None, None, "")),
            ({"before": "23:00"}, (True, 1_699_999_200.0, 1_700_002_800.0, "UTC")),
            ({"before": "22:00"}, (False, 1_700_082_000.0, 1_700_085_600.0, "UTC")),
        ],
    )
    def test_tells_when_it_is_due(
        self, window: dict[str, str] | None, expected: tuple[Any, ...]
    ) -> None:
        """Without a window a preflight is never due."""
        report = fleet(agent("a")).judged({"agents": {}, "window": window})

        assert expected == (
            report.due,
            report.begin_timestamp_seconds,
            report.end_timestamp_seconds,
            report.time_zone,
        )


def test_a_picture_has_its_preflights() -> None:
    """The preflights of a picture must be judged over the picture's own rows."""
    telemetry = SelfMetrics(clock=FakeClock(unix=NOW.unix, monotonic=NOW.monotonic).clock)
    facts = Facts(
        snapshots=tuple(fakes.FakeView(fakes.agent("a"), fakes.agent("b", up=False)).snapshots()),
        sources=(fakes.source(),),
        judge=Judge.of(AlertingSettings(), telemetry.registry, serves=False),
        ready=True,
        preflights=(
            PreflightSettings.model_validate({"name": "some", "agents": {"min_up": 1}}),
            PreflightSettings.model_validate({"name": "all", "agents": {}}),
        ),
    )

    found: tuple[Report, ...] = picture(facts, NOW).preflights

    assert [("some", Status.FIT), ("all", Status.NOT_FIT)] == [
        (each.name, each.status) for each in found
    ]
