"""Recording rules for the dashboards: the state of each machine, and its availability.

The dashboards take names and colours from the members of `Code`, so rules and panels agree.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.alerts.expression import Aggregation, Writing, merged
from exporter.fleet.kinds import Kind
from exporter.metrics import catalogue as c
from exporter.metrics.catalogue import COMMON_LABELS, Family


if TYPE_CHECKING:
    from collections.abc import Iterator


@unique
class Code(IntEnum):
    """The state of a machine as a number; a more urgent state has a greater number."""

    UNKNOWN = 0
    INACTIVE = 1
    UP = 2
    OUTDATED = 3
    UNREACHABLE = 4


#: The recorded metric with a series per machine: the number of its state.
STATE = "target:loadfleet_state:code"

#: The recorded metric with a series per machine: the share of the last 5 minutes that it was up.
UP = "target:loadfleet_up:avg5m"

#: The labels that these metrics have besides those of the machine's own families: kind, name and id
#: of the machine; the kind of the page on the board that shows it; and the name of the label with
#: its name.
LABELS = ("kind", "target", "target_id", "page", "variable")

# Wide enough that a query over a month takes seconds.
_STEP = "5m"

_AGGREGATIONS: tuple[Aggregation, ...] = ("sum", "count")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of machine.

    Attributes:
        kind: The name of the kind; in capitals, the prefix of its families in the catalogue.
        page: The kind of the page on the board that shows the machine.
        known: The family with a series for each machine, whatever its state.
        active: The family that shows which machines are active, if machines can be inactive.
    """

    kind: str
    page: Kind
    known: Family
    active: Family | None = None

    def family(self, ending: str) -> Family:
        """Return the family of this kind whose name in the catalogue has this ending."""
        prefix = "CLUSTER_MEMBER" if self.kind == Kind.MEMBER else self.kind.upper()
        found: Family = getattr(c, f"{prefix}_{ending}")
        return found

    @property
    def name(self) -> str:
        """The label with a machine's name."""
        return Kind(self.kind).name_field

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that identify a machine."""
        return (*COMMON_LABELS, *self.family("UP").labels)

    def rules(self, writing: Writing) -> Iterator[tuple[str, str]]:
        """Yield the name and the PromQL of each recording rule per machine."""
        up, outdated = self.family("UP").name, self.family("OUTDATED").name
        facts = ", ".join(label for label in self.known.labels if label not in self.labels)
        known = f"max without ({facts}) ({self.known.name})" if facts else self.known.name
        codes = [
            f"({up} == 0) + {Code.UNREACHABLE}",
            f"({outdated} == 1) * {Code.OUTDATED}",
            f"{up} * {Code.UP}",
            *([f"({self.active.name} == 0) + {Code.INACTIVE}"] if self.active else ()),
            f"{known} * {Code.UNKNOWN}",
        ]
        without = f"max without ({', '.join(writing.without)})"
        yield STATE, self._named(f"{without} ({' or '.join(codes)})")
        yield UP, self._named(f"{without} (avg_over_time({up}[{_STEP}]))")

    def _named(self, promql: str) -> str:
        for label, source in (("target", self.name), ("target_id", self.page.id_field)):
            promql = f'label_replace({promql}, "{label}", "$1", "{source}", "(.*)")'
        return promql


AGENT = Machine(kind="agent", page=Kind.AGENT, known=c.AGENT_INFO, active=c.AGENT_ACTIVE)
CONTROLLER = Machine(kind="controller", page=Kind.CONTROLLER, known=c.CONTROLLER_INFO)
CLUSTER = Machine(
    kind="cluster", page=Kind.CLUSTER, known=c.CLUSTER_MEMBERS, active=c.CLUSTER_ACTIVE
)
MEMBER = Machine(kind="member", page=Kind.CLUSTER, known=c.CLUSTER_MEMBER_LOAD_FACTOR)
RECORDER = Machine(kind="recorder", page=Kind.RECORDER, known=c.RECORDER_INFO)

MACHINES = (AGENT, CONTROLLER, CLUSTER, MEMBER, RECORDER)


def groups(writing: Writing) -> list[dict[str, Any]]:
    """Return the groups of recording rules for the dashboards; no alert reads them."""
    # The reachability of the fleet, cheap to query over years: by source, the number of targets
    # that were up (sum) and of all that have an `up` (count).
    by_source = [
        {
            "record": f"source:{family.name}:{aggregation}",
            "expr": merged(family).merged(aggregation, *family.labels).promql(writing),
        }
        for family in (one.family("UP") for one in MACHINES if one is not CLUSTER)
        for aggregation in _AGGREGATIONS
    ]
    by_target: dict[str, list[dict[str, Any]]] = {STATE: [], UP: []}
    for one in MACHINES:
        for name, promql in one.rules(writing):
            labels = {"kind": one.kind, "page": one.page.value, "variable": one.name}
            by_target[name].append({"record": name, "expr": promql, "labels": labels})
    # Without lookback the rules are for a trial, which should not wait for averages either.
    interval = {"interval": _STEP} if writing.lookback else {}
    return [
        {"name": "loadfleet-availability", "rules": by_source},
        {"name": "loadfleet-states", "rules": by_target[STATE]},
        {"name": "loadfleet-uptimes", **interval, "rules": by_target[UP]},
    ]
