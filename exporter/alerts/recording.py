"""Recording rules for the dashboards: the state of each machine, and its availability.

The dashboards name and colour the members of `Code`, so that rules and panels cannot drift apart.
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
    """The state of a machine as a number, the most urgent last."""

    UNKNOWN = 0
    INACTIVE = 1
    UP = 2
    OUTDATED = 3
    UNREACHABLE = 4


#: A series per machine with the number of its state.
STATE = "target:loadfleet_state:code"

#: A series per machine with the share of the last minutes in which it was up.
UP = "target:loadfleet_up:avg5m"

#: The labels that these have beside those of the machine's own families: the kind, the name and
#: the id of the machine; the kind whose page on the board tells of it; and the label with its name.
LABELS = ("kind", "target", "target_id", "page", "variable")

# Few enough that a month is averaged in seconds.
_STEP = "5m"

_AGGREGATIONS: tuple[Aggregation, ...] = ("sum", "count")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of machine.

    Attributes:
        kind: Its word, and in capitals the beginning of its families' names in the catalogue.
        page: The kind whose page on the board tells of it.
        known: The family that has a series of each, whatever its state.
        active: The family that tells which ones are looked at, if any are not.
    """

    kind: str
    page: Kind
    known: Family
    active: Family | None = None

    def family(self, ending: str) -> Family:
        """Return the family of this kind whose name in the catalogue ends so."""
        prefix = "CLUSTER_MEMBER" if self.kind == Kind.MEMBER else self.kind.upper()
        found: Family = getattr(c, f"{prefix}_{ending}")
        return found

    @property
    def name(self) -> str:
        """The label with the name that people know one by."""
        return Kind(self.kind).name_field

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that tell one from the others."""
        return (*COMMON_LABELS, *self.family("UP").labels)

    def rules(self, writing: Writing) -> Iterator[tuple[str, str]]:
        """Yield name and PromQL of what is recorded of each one."""
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
    """Return the groups of rules, none of which an alert reads."""
    # How much of the fleet could be reached, cheap to query over years: by source, the targets
    # that were up and all that were looked at.
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
    # Trials that wait for nothing do not wait for averages either.
    interval = {"interval": _STEP} if writing.lookback else {}
    return [
        {"name": "loadfleet-availability", "rules": by_source},
        {"name": "loadfleet-states", "rules": by_target[STATE]},
        {"name": "loadfleet-uptimes", **interval, "rules": by_target[UP]},
    ]
