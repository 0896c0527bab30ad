"""Values that panels show for given series, computed by promtool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from exporter.alerts.recording import STATE, Code
from exporter.fleet.readings import PHASES
from exporter.metrics import catalogue as c
from exporter.metrics import own
from tests.dashboards.boards import filled, panels
from tests.rules.support import run


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


Labels = dict[str, str]
Sample = tuple[Labels, float]


#: The labels that Prometheus adds, and those of a second exporter that watches the same.
SCRAPED = {"job": "exporter", "instance": "one"}
OTHER = {"instance": "two"}


def series(labels: Mapping[str, str]) -> str:
    """Return labels as PromQL writes them."""
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def of(provider: str, **labels: str) -> Labels:
    """Return the labels of series about a source of a provider."""
    return {"provider": provider, "source": provider, **labels}


def rule(name: str, severity: str, **labels: str) -> Labels:
    """Return the labels of `ALERTS` for a rule's firing alert."""
    return {"alertname": name, "severity": severity, "alertstate": "firing", **labels}


def check(
    folder: Path,
    title: str,
    held: Mapping[str, Sequence[Sample]],
    shown: Sequence[Sample],
    *,
    letter: str = "A",
) -> None:
    """Compare a panel's values with the expected ones.

    Args:
        folder: The folder of promtool's file.
        title: The panel's title.
        held: The series in Prometheus, by metric.
        shown: The expected values.
        letter: The name of the query.
    """
    (query,) = [
        target["expr"]
        for panel in panels()
        if panel.json["title"] == title
        for target in panel.json["targets"]
        if target["refId"] == letter
    ]
    test = {
        "input_series": [
            {
                # Series that rules record have no labels of a scrape.
                "series": metric + series(labels if metric == "ALERTS" else SCRAPED | labels),
                "values": str(value),
            }
            for metric, samples in held.items()
            for labels, value in samples
        ],
        "promql_expr_test": [
            {
                "expr": filled(query),
                "eval_time": "0s",
                "exp_samples": [
                    {"labels": series(labels), "value": value} for labels, value in shown
                ],
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(json.dumps({"tests": [test]}))

    result = run("promtool", "test", "rules", path)

    assert 0 == result.returncode, result.stdout + result.stderr


class TestFiringAlerts:
    def test_a_severity_of_an_alert_has_a_row_of_its_own(self, tmp_path: Path) -> None:
        """Two severities of one name are two urgencies, whatever labels their alerts have."""
        firing = [
            rule("LoadFleetTaskFailing", "critical", task="agents"),
            rule("LoadFleetTaskFailing", "warning", task="jobs"),
            rule("LoadFleetTaskFailing", "warning", task="suites"),
            rule("LoadFleetStateDown", "info", job="exporter", instance="one"),
            rule("LoadFleetHeartbeat", "none"),
            rule("SomebodyElses", "critical"),
        ]

        check(
            tmp_path,
            "Firing alerts",
            {"ALERTS": [(labels, 1) for labels in firing]},
            [
                ({"alertname": "LoadFleetTaskFailing", "severity": "critical"}, 1),
                ({"alertname": "LoadFleetTaskFailing", "severity": "warning"}, 2),
                ({"alertname": "LoadFleetStateDown", "severity": "info"}, 1),
            ],
        )

    def test_what_rules_and_exporters_both_tell_is_counted_once(self, tmp_path: Path) -> None:
        """Two exporters that watch the same, and a Prometheus, know of one trouble."""
        unreachable = {"alertname": "LoadFleetAgentUnreachable", "severity": "critical"}
        failed = {"alertname": "LoadFleetSuiteFailed", "severity": "warning"}
        firing = [
            (unreachable, 2),
            (unreachable | {"instance": "two"}, 2),
            (failed, 1),
            ({"alertname": "LoadFleetRunStuck", "severity": "warning"}, 0),
        ]

        check(
            tmp_path,
            "Firing alerts",
            {
                "ALERTS": [(rule("LoadFleetSuiteFailed", "warning", suite="a"), 1)],
                own.ALERTS_FIRING.name: firing,
                own.SHARD_ORDINAL.name: [({}, 0), ({"instance": "two"}, 0)],
            },
            [(unreachable, 2), (failed, 1)],
        )

    def test_shards_add_up_and_their_pairs_do_not(self, tmp_path: Path) -> None:
        """Each shard has troubles of its own, and its pair has the same."""
        unreachable = {"alertname": "LoadFleetAgentUnreachable", "severity": "critical"}
        counts = {"one": (0, 2), "two": (0, 2), "three": (1, 3), "four": (1, 3)}

        check(
            tmp_path,
            "Firing alerts",
            {
                own.ALERTS_FIRING.name: [
                    (unreachable | {"instance": name}, count) for name, (_, count) in counts.items()
                ],
                own.SHARD_ORDINAL.name: [
                    ({"instance": name}, shard) for name, (shard, _) in counts.items()
                ],
            },
            [(unreachable, 5)],
        )


def test_an_empty_list_is_told_where_there_should_be_targets(tmp_path: Path) -> None:
    """A poll that works and lists nothing is no good one, but for kinds that never had any."""
    tasks = [
        (of("realload", task="agents"), 1),
        (of("realload", task="suites"), 1),
        (of("realload", task="recorders"), 1),
        (of("realload", task="jobs"), 0),
        (of("eggplant", task="agents"), 1),
        (of("blazemeter", task="agents"), 1),
    ]
    listed = [
        (of("realload", kind="agent"), 3),
        (of("realload", kind="suite"), 0),
        (of("realload", kind="recorder"), 0),
        (of("eggplant", kind="agent"), 0),
        (of("blazemeter", kind="agent"), 0),
        (of("blazemeter", kind="location"), 0),
    ]
    expected = [
        (of("realload", task="agents", kind="agent"), 1),
        (of("realload", task="suites", kind="suite"), 1),
        (of("realload", task="recorders", kind="recorder"), 0),
    ]

    check(
        tmp_path,
        "Tasks",
        {
            c.SOURCE_TASK_UP.name: tasks,
            c.SOURCE_TARGETS.name: listed,
            own.TARGETS_EXPECTED.name: expected,
        },
        [
            (of("realload", task="agents"), 1),
            (of("realload", task="suites"), 2),
            (of("realload", task="recorders"), 1),
            (of("realload", task="jobs"), 0),
            # Without agents, such a source watches nothing.
            (of("eggplant", task="agents"), 2),
            # Its agents are those of its locations, of which it has none.
            (of("blazemeter", task="agents"), 1),
        ],
    )


def test_a_source_is_shown_as_each_exporter_sees_it(tmp_path: Path) -> None:
    """The panel must tell a source that is down everywhere from one that a single exporter lost."""
    one, two, slow, refused = (
        of("realload"),
        of("realload", instance="two"),
        of("eggplant"),
        of("blazemeter"),
    )

    check(
        tmp_path,
        "Sources as each exporter sees them",
        {
            c.SOURCE_UP.name: [(one, 1), (two, 0), (slow, 1), (refused, 0)],
            own.BREAKER_OPEN.name: [(one, 0), (two, 0), (slow, 0), (refused, 1)],
            own.VENDOR_SLOW.name: [(one, 0), (two, 1), (slow, 1), (refused, 0)],
        },
        [
            ({"instance": "one"} | one, 1),
            (two, 0),
            ({"instance": "one"} | slow, 3),
            ({"instance": "one"} | refused, 2),
        ],
    )


def test_of_a_pair_one_polls_and_the_other_stands_by(tmp_path: Path) -> None:
    """A source that is down must be shown as down by the standby too."""
    legend = {name: of(name) for name in ("well", "down")}
    check(
        tmp_path,
        "Sources as each exporter sees them",
        {
            c.SOURCE_UP.name: [
                (labels | {"instance": instance}, float(name == "well"))
                for name, labels in legend.items()
                for instance in ("one", "two")
            ],
            own.LEADER.name: [
                (labels | {"instance": instance}, leads)
                for labels in legend.values()
                for instance, leads in (("one", 1), ("two", 0))
            ],
        },
        [
            (legend["well"] | {"instance": "one"}, 1),
            (legend["well"] | {"instance": "two"}, 4),
            (legend["down"] | {"instance": "one"}, 0),
            (legend["down"] | {"instance": "two"}, 0),
        ],
    )


class TestLabelsOfTheUsersOwn:
    """With labels that users add to sources, joins must work and keep these labels."""

    def test_a_member_is_joined_with_its_clusters_controller(self, tmp_path: Path) -> None:
        """The controller comes from another metric than the load factor."""
        cluster = of("realload", site="bern", cluster_id="3", agent_cluster="all")
        member = cluster | {"member_id": "9", "agent_id": "7", "agent": "north"}

        check(
            tmp_path,
            "Clusters and their members now",
            {
                c.CLUSTER_MEMBER_LOAD_FACTOR.name: [(member, 0.5), (member | OTHER, 0.5)],
                c.CLUSTER_INFO.name: [
                    (cluster | {"controller": "c:80"}, 1),
                    (cluster | {"controller": "c:80"} | OTHER, 1),
                ],
                STATE: [(member | {"kind": "member"}, Code.UP)],
            },
            [(member | {"controller": "c:80"}, 0.5)],
            letter="F",
        )

    def test_free_agents_are_counted(self, tmp_path: Path) -> None:
        """An agent that is down, at work or without a limit adds nothing that is free."""
        agents = {
            name: of("realload", site=f"where {name} is", agent_id=name, agent=name)
            for name in ("free", "down", "at work", "unlimited")
        }

        check(
            tmp_path,
            "Users that the fleet can take",
            {
                c.AGENT_USERS_LIMIT.name: [
                    (labels, float("inf") if name == "unlimited" else 100)
                    for name, labels in agents.items()
                ],
                STATE: [
                    (labels | {"kind": "agent"}, Code.UNREACHABLE if name == "down" else Code.UP)
                    for name, labels in agents.items()
                ],
                c.AGENT_JOBS.name: [
                    (labels | {"state": "running"}, int(name == "at work"))
                    for name, labels in agents.items()
                ],
            },
            [({}, 100)],
            letter="C",
        )

    def test_a_clock_has_the_name_of_its_machine(self, tmp_path: Path) -> None:
        """The name that all kinds share is recorded with the state."""
        agent = of("realload", site="bern", agent_id="7", agent="north")
        named = agent | {"kind": "agent", "target": "north", "target_id": "7"}

        check(
            tmp_path,
            "Clocks off the most",
            {c.AGENT_CLOCK_DELTA.name: [(agent, -2)], STATE: [(named, Code.UP)]},
            [({"__name__": STATE} | named | SCRAPED, Code.UP)],
            letter="C",
        )

    def test_a_run_is_in_the_phase_that_is_set(self, tmp_path: Path) -> None:
        """Each phase has a series of the run, of which all but one are 0."""
        run = of("blazemeter", site="bern", run_id="5", run="nightly")
        phases = [(run | {"phase": phase}, int(phase == "running")) for phase in PHASES]

        check(tmp_path, "Runs in flight", {c.RUN_PHASE.name: phases}, [(run, 5)])
