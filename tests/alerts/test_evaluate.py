"""The life of an alert, evaluation by evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from exporter.alerts import about
from exporter.alerts.evaluate import Alerts, Evaluator, Phase
from exporter.alerts.expression import Expression, firing, select
from exporter.alerts.rule import Links
from exporter.alerts.runs import about_preflights
from exporter.clock import Moment
from exporter.metrics import catalogue as c
from exporter.metrics import own
from tests.support.alerts import START, alert, keyed, later, rule, view_of


if TYPE_CHECKING:
    from exporter.alerts.rule import Rule
    from tests.support.alerts import Samples


LINKS = Links(runbook_url="https://runbooks.example")


class Judge:
    """An evaluator that keeps its own outcome."""

    def __init__(self, *rules: Rule, alerts: Alerts | None = None) -> None:
        self.rules = rules
        self.alerts = alerts or Alerts()

    def at(self, seconds: float, samples: Samples, *, hold_restored: bool = False) -> Alerts:
        """Evaluate that long after `START`."""
        evaluator = Evaluator(self.rules, links=LINKS)
        self.alerts = evaluator.evaluate(
            view_of(samples), later(seconds), self.alerts, hold_restored=hold_restored
        )
        return self.alerts

    def phases(self) -> dict[str, Phase]:
        """Return the active alerts' phases by agent."""
        return {a.labels["agent"]: a.phase for a in self.alerts.active.values()}

    def ended(self) -> list[str]:
        """Return the agents whose alerts have ended."""
        return [a.labels["agent"] for a in self.alerts.resolved.values()]


def up(**agents: float) -> Samples:
    """Return the newest samples of some agents."""
    return {"up": [({"agent": name, "zone": ""}, value) for name, value in agents.items()]}


HOUR, DAY = 3600.0, 86_400.0

ABOUT_AGENTS = replace(rule(expression=select(c.AGENT_UP).compared("==", 0)), about=about.AGENT)


def agents(*, task: float = 1, targets: float = 5, **up: float) -> Samples:
    """Return the samples of a source with some agents, and what is known of its list."""
    source = {"provider": "realload", "source": "prod"}
    each = [({**source, "agent_id": name, "agent": name}, value) for name, value in up.items()]
    down = [({**labels, "reason": "timeout"}, 1.0) for labels, value in each if not value]
    listing = {**source, "task": "agents"}
    return {
        c.AGENT_UP.name: each,
        c.AGENT_FAILURE.name: down,
        c.SOURCE_TASK_UP.name: [(listing, task)],
        c.SOURCE_TARGETS.name: [({**source, "kind": "agent"}, targets)],
        own.POLL_INTERVAL.name: [(listing, 60.0)],
    }


class TestPending:
    def test_a_condition_that_begins_to_hold_is_pending(self) -> None:
        """A condition that has just begun may be a blip."""
        judge = Judge(rule(hold=300))

        judge.at(0, up(a=0, b=1))

        assert {"a": Phase.PENDING} == judge.phases()

    def test_it_fires_when_it_has_held_for_long_enough(self) -> None:
        """An alert must fire at the evaluation that completes its waiting time."""
        judge = Judge(rule(hold=300))
        judge.at(0, up(a=0))
        judge.at(299.9, up(a=0))

        before = judge.phases()
        judge.at(300, up(a=0))

        assert {"a": Phase.PENDING} == before
        assert {"a": Phase.FIRING} == judge.phases()

    def test_an_interruption_begins_anew(self) -> None:
        """A condition has to hold without interruption."""
        judge = Judge(rule(hold=300))
        judge.at(0, up(a=0))
        judge.at(240, up(a=1))
        judge.at(300, up(a=0))

        judge.at(599, up(a=0))

        assert {"a": Phase.PENDING} == judge.phases()

    def test_it_fires_at_once_where_nothing_has_to_hold(self) -> None:
        """A smoothed condition needs no time."""
        judge = Judge(rule(hold=0))

        judge.at(0, up(a=0))

        assert {"a": Phase.FIRING} == judge.phases()

    def test_what_was_only_pending_ends_without_a_trace(self) -> None:
        """An alert that was only pending must end without a trace."""
        judge = Judge(rule(hold=300))
        judge.at(0, up(a=0))

        judge.at(60, up(a=1))

        assert Alerts() == judge.alerts

    def test_a_wall_clock_that_is_set_makes_nothing_fire(self) -> None:
        """A duration is measured by the clock that never jumps."""
        evaluator = Evaluator([rule(hold=300)], links=LINKS)
        first = evaluator.evaluate(view_of(up(a=0)), START, Alerts())
        jumped = Moment(unix=START.unix + 86_400, monotonic=START.monotonic + 60)

        second = evaluator.evaluate(view_of(up(a=0)), jumped, first)

        assert [Phase.PENDING] == [one.phase for one in second.active.values()]


class TestFiring:
    def test_an_alert_has_the_labels_and_texts_of_prometheus(self) -> None:
        """Alertmanager must not see who evaluated; an empty label is none."""
        judge = Judge(rule("Down", hold=0))

        (fired,) = judge.at(0, up(a=0)).active.values()

        assert {"alertname": "Down", "severity": "critical", "agent": "a"} == fired.labels
        assert {
            "summary": "Something is down.",
            "description": "a is at 0s.",
            "runbook_url": "https://runbooks.example/Down.md",
        } == fired.annotations

    def test_the_times_of_beginning_and_firing_stay(self) -> None:
        """An alert is the same alert as long as it lasts."""
        judge = Judge(rule(hold=60))
        judge.at(0, up(a=0))
        judge.at(60, up(a=0))

        (fired,) = judge.at(600, up(a=0)).active.values()

        assert (START, later(60)) == (fired.since, fired.fired)

    def test_it_ends_when_the_condition_no_longer_holds(self) -> None:
        """Receivers must hear that all is well again."""
        judge = Judge(rule(hold=0))
        judge.at(0, up(a=0))

        (ended,) = judge.at(60, up(a=1)).resolved.values()

        assert (Phase.RESOLVED, later(60)) == (ended.phase, ended.resolved)
        assert {} == judge.phases()

    def test_it_ends_with_its_series(self) -> None:
        """An alert must end when its target's series is gone."""
        judge = Judge(rule(hold=0))
        judge.at(0, up(a=0, b=0))

        judge.at(60, up(b=0))

        assert ["a"] == judge.ended()
        assert {"b": Phase.FIRING} == judge.phases()

    def test_it_ends_with_its_rule(self) -> None:
        """A reload can switch a rule off."""
        judge = Judge(rule("Down", hold=0), rule("Gone", hold=0))
        judge.at(0, up(a=0))

        judge.rules = (rule("Down", hold=0),)
        judge.at(60, up(a=0))

        assert ["Gone"] == [one.name for one in judge.alerts.resolved.values()]
        assert ["Down"] == [one.name for one in judge.alerts.active.values()]

    def test_what_fires_again_is_a_new_alert_and_no_longer_resolved(self) -> None:
        """Receivers hear of the newest state only."""
        judge = Judge(rule(hold=60))
        for seconds, value in ((0, 0), (60, 0), (120, 1), (180, 0)):
            judge.at(seconds, up(a=value))

        pending_again = judge.ended()
        judge.at(240, up(a=0))

        assert ["a"] == pending_again
        assert [] == judge.ended()
        assert [later(240)] == [one.fired for one in judge.alerts.active.values()]

    def test_a_mistake_in_a_rule_leaves_its_alerts_as_they_are(self) -> None:
        """A broken rule must neither end its alerts nor keep other rules from being judged."""
        judge = Judge(rule("Broken", hold=0), rule("Down", hold=0))
        judge.at(0, up(a=0))

        judge.rules = (rule("Broken", expression=Broken()), rule("Down", hold=0))
        judge.at(60, up(a=0, b=0))

        assert {("Broken", "a"), ("Down", "a"), ("Down", "b")} == {
            (one.name, one.labels["agent"]) for one in judge.alerts.active.values()
        }


class TestKeeping:
    def test_an_alert_outlives_its_condition_as_long_as_its_rule_says(self) -> None:
        """A lost reading must neither end a page nor repeat it."""
        judge = Judge(rule(hold=0, keep=300))
        judge.at(0, up(a=0))
        judge.at(60, {})
        judge.at(359, {})

        before = judge.phases()
        judge.at(360, {})

        assert {"a": Phase.FIRING} == before
        assert {} == judge.phases()

    def test_a_condition_that_returns_in_time_makes_it_whole_again(self) -> None:
        """After a condition has returned in time, `keep_seconds` must count from its next lapse."""
        judge = Judge(rule(hold=0, keep=300))
        for seconds, samples in ((0, up(a=0)), (60, {}), (300, up(a=0)), (360, {})):
            judge.at(seconds, samples)

        judge.at(600, {})

        assert {"a": Phase.FIRING} == judge.phases()

    def test_what_is_pending_is_not_kept(self) -> None:
        """A pending alert must not be kept when its condition lapses."""
        judge = Judge(rule(hold=300, keep=300))
        judge.at(0, up(a=0))

        judge.at(60, {})

        assert {} == judge.phases()


class TestRestored:
    def test_it_stays_as_it_is_until_the_first_round_is_over(self) -> None:
        """Right after a start there are no series, which says nothing."""
        before = keyed(alert("a", restored=True), alert("b", phase=Phase.PENDING, restored=True))
        judge = Judge(rule(), alerts=Alerts(active=before))

        judge.at(10_000, {}, hold_restored=True)

        assert before == judge.alerts.active

    def test_it_ends_when_the_first_round_has_brought_nothing_against_it(self) -> None:
        """The target came back while the exporter was away."""
        before = keyed(alert("a", restored=True), alert("b", restored=True))
        judge = Judge(rule(), alerts=Alerts(active=before))

        judge.at(60, {}, hold_restored=False)

        assert {"a", "b"} == set(judge.ended())

    def test_it_is_kept_from_the_end_of_the_first_round_on(self) -> None:
        """A restored alert must be kept for `keep_seconds` from the end of the first polls."""
        judge = Judge(rule(keep=300), alerts=Alerts(active=keyed(alert("a", restored=True))))
        judge.at(0, {}, hold_restored=True)
        judge.at(60, {})
        judge.at(359, {})

        before = judge.phases()
        judge.at(360, {})

        assert {"a": Phase.FIRING} == before
        assert ["a"] == judge.ended()

    def test_it_goes_on_as_the_same_alert(self) -> None:
        """A restored alert must keep its beginning, by which Alertmanager knows it."""
        known = alert("a", fired=0, restored=True)
        labels = {"agent": "a", "source": "prod"}
        judge = Judge(rule(), alerts=Alerts(active=keyed(known)))

        (one,) = judge.at(600, {"up": [(labels, 0.0)]}).active.values()

        assert (known.fired, known.labels) == (one.fired, one.labels)
        assert not one.restored


class Broken(Expression, frozen=True, kw_only=True):
    """A condition whose evaluation fails."""


class TestEvidence:
    def test_an_alert_goes_on_while_nothing_is_known_of_its_target(self) -> None:
        """A list that cannot be read says nothing of the agents in it."""
        judge = Judge(ABOUT_AGENTS)
        judge.at(0, agents(a=0))
        judge.at(300, agents(a=0))

        judge.at(3 * HOUR, agents(task=0))

        assert {"a": Phase.FIRING} == judge.phases()

    def test_an_emptied_list_is_no_evidence(self) -> None:
        """A filter that matches nothing repairs no agent."""
        judge = Judge(ABOUT_AGENTS)
        judge.at(0, agents(a=0))
        judge.at(300, agents(a=0))

        judge.at(3 * HOUR, agents(targets=0))

        assert {"a": Phase.FIRING} == judge.phases()

    def test_it_ends_a_day_later_at_the_latest(self) -> None:
        """An alert without any evidence must end after a day."""
        judge = Judge(ABOUT_AGENTS)
        judge.at(0, agents(a=0))
        judge.at(300, agents(a=0))
        judge.at(400, agents(task=0))

        judge.at(399 + DAY, agents(task=0))
        before = judge.phases()
        judge.at(400 + DAY, agents(task=0))

        assert {"a": Phase.FIRING} == before
        assert ["a"] == judge.ended()

    def test_it_ends_when_the_list_is_read_and_lacks_the_target(self) -> None:
        """An alert must end when the list is read and lacks its target."""
        judge = Judge(ABOUT_AGENTS)
        judge.at(0, agents(a=0))
        judge.at(300, agents(a=0))
        judge.at(400, agents(task=0))

        judge.at(HOUR, agents(b=1))

        assert ["a"] == judge.ended()

    def test_it_ends_when_the_target_was_read_and_is_well(self) -> None:
        """An alert must end when its target was read and is well, even if the list was not read."""
        judge = Judge(ABOUT_AGENTS)
        judge.at(0, agents(a=0))
        judge.at(300, agents(a=0))

        judge.at(400, agents(a=1, task=0))

        assert ["a"] == judge.ended()

    def test_it_ends_with_its_source(self) -> None:
        """An alert must end when its source is no longer configured."""
        judge = Judge(ABOUT_AGENTS)
        judge.at(0, agents(a=0))
        judge.at(300, agents(a=0))

        judge.at(400, {})

        assert ["a"] == judge.ended()

    def test_the_time_of_keeping_begins_with_the_evidence(self) -> None:
        """Time during which the condition was unknown must not count towards `keep_seconds`."""
        judge = Judge(replace(ABOUT_AGENTS, keep_seconds=300.0))
        judge.at(0, agents(a=0))
        judge.at(300, agents(a=0))
        judge.at(HOUR, agents(task=0))
        judge.at(HOUR + 10, agents(a=1))

        judge.at(HOUR + 309, agents(a=1))
        before = judge.phases()
        judge.at(HOUR + 310, agents(a=1))

        assert {"a": Phase.FIRING} == before
        assert ["a"] == judge.ended()

    def test_what_is_pending_does_not_begin_anew(self) -> None:
        """Only the time in which something was known counts."""
        judge = Judge(ABOUT_AGENTS)
        judge.at(0, agents(a=0))
        judge.at(200, agents(task=0))
        judge.at(HOUR, agents(a=0))

        judge.at(HOUR + 99, agents(a=0))
        before = judge.phases()
        judge.at(HOUR + 100, agents(a=0))

        assert {"a": Phase.PENDING} == before
        assert {"a": Phase.FIRING} == judge.phases()

    def test_the_texts_stay_while_nothing_is_known(self) -> None:
        """The page must go on saying where and why."""
        judge = Judge(ABOUT_AGENTS)
        judge.at(0, agents(a=0))
        judge.at(300, agents(a=0))
        told = [one.annotations for one in judge.alerts.active.values()]

        judge.at(HOUR, agents(task=0))

        assert told == [one.annotations for one in judge.alerts.active.values()]
        assert "Reason: timeout." in told[0]["description"]


def test_what_follows_from_an_alert_that_goes_on_is_not_told() -> None:
    """A rule that reads alerts sees those of the rules before it, as in Prometheus."""
    cause = replace(ABOUT_AGENTS, name="Cause")
    members = select(c.CLUSTER_MEMBER_UP).compared("==", 0)
    effect = replace(
        rule(expression=members.where("unless", firing("Cause"), "agent_id")), name="Effect"
    )
    member = {c.CLUSTER_MEMBER_UP.name: [({"agent_id": "a", "agent": "a"}, 0.0)]}
    judge = Judge(cause, effect)
    judge.at(0, {**agents(a=0), **member})
    judge.at(300, {**agents(a=0), **member})

    judge.at(HOUR, {**agents(task=0), **member})
    judge.at(HOUR + 300, {**agents(task=0), **member})

    assert ["Cause"] == [one.name for one in judge.alerts.active.values()]


class TestPreflights:
    """The row of the table, judged by the gauges that an exporter writes from its start on."""

    (unfit,) = about_preflights()

    def judge(self, *rounds: dict[str, float]) -> Judge:
        """Judge what is shown of a preflight, minute by minute."""
        judge = Judge(replace(self.unfit, keep_seconds=0.0))
        for minute, values in enumerate(rounds):
            judge.at(
                minute * 60, {name: [({"preflight": "x"}, value)] for name, value in values.items()}
            )
        return judge

    def phases(self, *rounds: dict[str, float]) -> list[Phase]:
        """Return the phases of its alerts in the end."""
        return [one.phase for one in self.judge(*rounds).alerts.active.values()]

    def test_not_knowing_fires_as_not_being_fit_does(self) -> None:
        """A preflight that is not known must fire as one that is not fit."""
        due, unfit = {own.PREFLIGHT_DUE.name: 1.0}, {own.PREFLIGHT_READY.name: 0.0}

        assert [Phase.FIRING] == self.phases(*[due] * 3) == self.phases(*[due | unfit] * 3)

    def test_it_names_no_exporter(self) -> None:
        """A pair of them is one page."""
        judge = self.judge(*[{own.PREFLIGHT_DUE.name: 1.0}] * 3)

        (found,) = judge.alerts.active.values()
        assert {"alertname": "LoadFleetNotFit", "severity": "critical", "preflight": "x"} == dict(
            found.labels
        )

    def test_it_ends_when_it_is_fit_or_the_window_is_over(self) -> None:
        """The alert must end when the fleet is fit or the window is over."""
        begun = [{own.PREFLIGHT_DUE.name: 1.0}] * 3
        fit = {own.PREFLIGHT_DUE.name: 1.0, own.PREFLIGHT_READY.name: 1.0}
        over = {own.PREFLIGHT_DUE.name: 0.0}

        assert [] == self.phases(*begun, fit) == self.phases(*begun, over)

    def test_it_ends_when_it_is_no_longer_configured(self) -> None:
        """The alert must end when its preflight is no longer configured."""
        assert [] == self.phases(*[{own.PREFLIGHT_DUE.name: 1.0}] * 3, {})


def test_alerts_about_the_exporter_name_it() -> None:
    """Alerts about the exporter must have its name as a label."""
    evaluator = Evaluator([rule(hold=0)], links=LINKS, instance="host-1:10871")

    outcome = evaluator.evaluate(view_of(up(a=0)), later(0), Alerts())

    assert ["host-1:10871"] == [one.labels["instance"] for one in outcome.active.values()]
