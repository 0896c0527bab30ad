"""PromQL as text, with selectors that a dashboard completes by what its variables choose."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exporter.alerts.formats import WITHOUT
from exporter.alerts.recording import MACHINES, STATE, UP, Machine
from exporter.metrics import own
from exporter.metrics.catalogue import COMMON_LABELS, Family
from exporter.metrics.own import OWN_FAMILIES, OwnFamily
from exporter.sources.registry import FAMILIES


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.metrics.catalogue import NamedFamily


#: How many objects of a kind a list or a chart shows, of those that are worst off.
MANY, SOME = 50, 20

# What tells apart processes that watch the same; all other labels are the targets' or the users'.
_PROCESS = ", ".join(("job", *WITHOUT))

# By which the series of machines of all kinds are matched.
MACHINE = "on (provider, source, agent_id, controller, cluster_id, member_id, recorder_id)"

_LABELS = {
    **{family.name: (*COMMON_LABELS, *family.labels) for family in FAMILIES},
    **{family.series: family.labels for family in OWN_FAMILIES},
    **{f"{name} {one.kind}": one.labels for name in (STATE, UP) for one in MACHINES},
    **dict.fromkeys((STATE, UP), COMMON_LABELS),
}


def select(family: NamedFamily, *matchers: str) -> str:
    """Select the series of a family."""
    name = family.series if isinstance(family, OwnFamily) else family.name
    return f"{name}{{{', '.join(matchers)}}}"


def chosen(query: str, variables: Iterable[str]) -> str:
    """Narrow the selectors of a query to what the variables choose, each named as its label."""

    def narrowed(found: re.Match[str]) -> str:
        name, matchers = found.groups()
        kind = re.search(r'kind="(\w+)"', matchers)
        labels = _LABELS.get(f"{name} {kind[1]}" if kind else name) or _LABELS.get(name, ())
        given = [f'{each}=~"${each}"' for each in variables if each in ("job", *labels)]
        return f"{name}{{{', '.join((*given, *filter(None, [matchers])))}}}"

    # Alerts on what is absent have no job.
    return re.sub(r"\b(?!ALERTS)([\w:]+)\{([^}]*)\}", narrowed, query)


def merged(series: str, *but: str, how: str = "max") -> str:
    """Make one series of those that differ only in the process that watches, or in some labels."""
    return f"{how} without ({', '.join((_PROCESS, *but))}) ({series})"


def each(family: NamedFamily, *matchers: str, but: Iterable[str] = ()) -> str:
    """Select one series per object, however many exporters watch it, with the users' labels."""
    return merged(select(family, *matchers), *but)


def only(family: Family, label: str, value: str) -> str:
    """Select the series with one value of a label, without that label."""
    return each(family, f'{label}="{value}"', but=(label,))


def facts(family: Family, identity: Iterable[str], *labels: str) -> str:
    """Select the series of an info family with a few of its labels."""
    kept = {*COMMON_LABELS, *identity, *labels}
    return each(family, but=(label for label in family.labels if label not in kept))


def states(machine: Machine | None = None, *matchers: str) -> str:
    """Select the recorded codes of the states of a kind of machines, or of all."""
    return f"{STATE}{{{', '.join((*_kind(machine), *matchers))}}}"


def available(machine: Machine | None = None) -> str:
    """Return the share of the time shown in which machines were up; unknown time is left out."""
    return f"avg_over_time({UP}{{{', '.join(_kind(machine))}}}[$__range])"


def worst(machine: Machine) -> str:
    """Return the codes of a few machines of a kind: those with the worst in the time shown."""
    rank = f"max_over_time({states(machine)}[$__range] @ end())"
    return f"{states(machine)} and topk({SOME}, {rank})"


def _kind(machine: Machine | None) -> tuple[str, ...]:
    return (f'kind="{machine.kind}"',) if machine else ()


def at_end(family: NamedFamily) -> str:
    """Return the newest values in the time shown, at all times of it."""
    return merged(f"last_over_time({select(family)}[$__range] @ end())")


def highest(family: NamedFamily, rank: str = "topk", *, signed: bool = False) -> str:
    """Return the series of a few objects: those with the highest values at the end, or lowest."""
    newest = f"abs({at_end(family)})" if signed else at_end(family)
    return f"{each(family)} and {rank}({SOME}, {newest})"


def in_sum(family: NamedFamily) -> str:
    """Add up what shards show of a family; of several processes of a shard one counts."""
    return shares(family, select(family))


def shares(family: NamedFamily, series: str) -> str:
    """Add up what each shard has of a family's series."""
    place, number = ("job", "instance"), select(own.SHARD_ORDINAL)
    shards = f'(count_values by ({", ".join(place)}) ("shard", {number}) > bool 0)'
    told = f"{series} * {on(place)} group_left (shard) {shards}"
    labels = (*COMMON_LABELS, *family.labels) if isinstance(family, Family) else family.labels
    return by("sum", labels, by("max", (*labels, "shard"), told))


def per_minute(counter: NamedFamily, labels: Iterable[str], *matchers: str) -> str:
    """Return by how much a counter grows in a minute, added up by labels."""
    return f"{by('sum', labels, f'rate({select(counter, *matchers)}[$__rate_interval])')} * 60"


def quantile(share: float, histogram: NamedFamily, *labels: str) -> str:
    """Return the quantile of a histogram's newest observations, by labels."""
    grown = f"rate({select(histogram)}[$__rate_interval])"
    return f"histogram_quantile({share:g}, {by('sum', ('le', *labels), grown)})"


def by(aggregation: str, labels: Iterable[str], expression: str) -> str:
    """Aggregate over all labels but these, the users' labels as well."""
    return f"{aggregation} by ({', '.join(labels)}) ({expression})"


def on(labels: Iterable[str]) -> str:
    """Return by which labels two expressions are matched."""
    return f"on ({', '.join(labels)})"


def either(*expressions: str) -> str:
    """Unite what expressions select; where the labels are the same, the first one's counts."""
    return " or ".join(expressions)


def labelled(expression: str, label: str, value: str) -> str:
    """Give all series a label."""
    return f'label_replace({expression}, "{label}", "{value}", "", "")'
