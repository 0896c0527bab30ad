"""The recording rules of the dashboards, evaluated by Prometheus itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from exporter.alerts.recording import MACHINES, STATE, UP, Code
from tests.rules.support import COMMITTED, run


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from exporter.alerts.recording import Machine
    from exporter.metrics.catalogue import Family


Labels = dict[str, str]

#: For each kind, the labels of a machine's own families, and those of the recorded series.
ONE = {
    "agent": ({"agent_id": "7", "agent": "north"}, ("north", "7", "agent", "agent")),
    "controller": ({"controller": "c:80"}, ("c:80", "c:80", "controller", "controller")),
    "cluster": (
        {"cluster_id": "3", "agent_cluster": "all"},
        ("all", "3", "cluster", "agent_cluster"),
    ),
    "member": (
        {"cluster_id": "3", "agent_cluster": "all", "member_id": "9"}
        | {"agent_id": "7", "agent": "north"},
        ("north", "3", "cluster", "agent"),
    ),
    "recorder": ({"recorder_id": "5", "recorder": "rec"}, ("rec", "5", "recorder", "recorder")),
}

#: A machine's exposed values, by the ends of the families' names, and its state.
STATES = {
    "down": ({"UP": "0", "OUTDATED": "0", "INFO": "1"}, Code.UNREACHABLE),
    "down and outdated": ({"UP": "0", "OUTDATED": "1"}, Code.UNREACHABLE),
    "outdated": ({"UP": "1", "OUTDATED": "1"}, Code.OUTDATED),
    "up": ({"UP": "1", "OUTDATED": "0", "INFO": "1"}, Code.UP),
    "inactive": ({"ACTIVE": "0", "INFO": "1"}, Code.INACTIVE),
    "listed alone": ({"INFO": "1"}, Code.UNKNOWN),
}

every_kind = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.kind)


def source(**labels: str) -> Labels:
    """Return the labels of a source that has one of the users' own."""
    return {"job": "fleet", "provider": "p", "source": "s", "site": "bern"} | labels


def recorded(kind: str) -> Labels:
    """Return the labels under which a machine of a kind is recorded."""
    own, beside = ONE[kind]
    names = ("target", "target_id", "page", "variable")
    return source(kind=kind, **own) | dict(zip(names, beside, strict=True))


def facts(family: Family) -> Labels:
    """Return a machine's facts in a family's labels."""
    return {"version": "1"} if "version" in family.labels else {}


def series(name: str, labels: Mapping[str, str]) -> str:
    """Return a series as PromQL writes it."""
    return name + "{" + ", ".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def check(folder: Path, held: Mapping[str, str], name: str, expected: Mapping[str, float]) -> None:
    """Compare what is recorded under a name at the end of ten minutes with what should be."""
    test = {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in held.items()],
        "promql_expr_test": [
            {
                "expr": name,
                "eval_time": "10m",
                "exp_samples": [
                    {"labels": labels, "value": value} for labels, value in expected.items()
                ],
            }
        ],
    }
    path = folder / "tests.yml"
    document = {"rule_files": [str(COMMITTED)], "evaluation_interval": "1m", "tests": [test]}
    path.write_text(yaml.safe_dump(document))

    result = run("promtool", "test", "rules", path)

    assert 0 == result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("machine", "state"),
    [
        pytest.param(machine, state, id=f"{machine.kind}-{state}")
        for machine in MACHINES
        for state in STATES
        if machine.active or state != "inactive"
    ],
)
def test_the_most_urgent_state_counts(tmp_path: Path, machine: Machine, state: str) -> None:
    """A pair of exporters makes one series, and the users' labels stay."""
    exposed, code = STATES[state]
    own, _ = ONE[machine.kind]
    families = {"INFO": machine.known, "ACTIVE": machine.active}
    held = {
        series(family.name, source(instance=instance, **own, **facts(family))): f"{value}x10"
        for ending, value in exposed.items()
        for instance in ("one", "two")
        for family in [families.get(ending) or machine.family(ending)]
    }

    check(tmp_path, held, STATE, {series(STATE, recorded(machine.kind)): int(code)})


@every_kind
def test_time_of_which_nothing_is_known_is_no_time_down(tmp_path: Path, machine: Machine) -> None:
    """Time without readings must not count as down."""
    own, _ = ONE[machine.kind]
    held = {series(machine.family("UP").name, source(instance="one", **own)): "1x7 _ _ _ _"}

    check(tmp_path, held, UP, {series(UP, recorded(machine.kind)): 1})


def test_time_down_counts(tmp_path: Path) -> None:
    """The average over five minutes is what longer times are averaged of."""
    own, _ = ONE["agent"]
    held = {series("loadfleet_agent_up", source(instance="one", **own)): "1x7 0 0 0"}

    check(tmp_path, held, UP, {series(UP, recorded("agent")): 0.5})
