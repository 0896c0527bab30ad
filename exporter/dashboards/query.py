"""PromQL for panels, with selectors to which a dashboard adds matchers for its variables."""

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


#: The most objects in a list, and in a chart.
MANY, SOME = 50, 20

# The labels of processes that watch the same targets; other labels are the targets' or the users'.
_PROCESS = ", ".join(("job", *WITHOUT))

#: The matching of series about machines of all kinds.
MACHINE = "on (provider, source, agent_id, controller, cluster_id, member_id, recorder_id)"

_LABELS = {
    **{family.name: (*COMMON_LABELS, *family.labels) for family in FAMILIES},
    **{family.series: family.labels for family in OWN_FAMILIES},
    **{f"{name} {one.kind}": one.labels for name in (STATE, UP) for one in MACHINES},
    **dict.fromkeys((STATE, UP), COMMON_LABELS),
}


def select(family: NamedFamily, *matchers: str) -> str:
    """Return the selector of a family's series."""
    name = family.series if isinstance(family, OwnFamily) else family.name
    return f"{name}{{{', '.join(matchers)}}}"


def chosen(query: str, variables: Iterable[str]) -> str:
    """Return a query with matchers for the variables, each of which is named like its label."""

    def narrowed(found: re.Match[str]) -> str:
        name, matchers = found.groups()
        kind = re.search(r'kind="(\w+)"', matchers)
        labels = _LABELS.get(f"{name} {kind[1]}" if kind else name) or _LABELS.get(name, ())
        given = [f'{each}=~"${each}"' for each in variables if each in ("job", *labels)]
        return f"{name}{{{', '.join((*given, *filter(None, [matchers])))}}}"

    # Except `ALERTS`: the alert about an absent exporter has no label `job`.
    return re.sub(r"\b(?!ALERTS)([\w:]+)\{([^}]*)\}", narrowed, query)


def merged(series: str, *but: str, how: str = "max") -> str:
    """Return the aggregation over the processes that watch the same targets, and some labels."""
    return f"{how} without ({', '.join((_PROCESS, *but))}) ({series})"


def each(family: NamedFamily, *matchers: str, but: Iterable[str] = ()) -> str:
    """Return one series per object, however many exporters watch it, with the users' labels."""
    return merged(select(family, *matchers), *but)


def only(family: Family, label: str, value: str) -> str:
    """Return the series with one value of a label, without that label."""
    return each(family, f'{label}="{value}"', but=(label,))


def facts(family: Family, identity: Iterable[str], *labels: str) -> str:
    """Return the series of an info family with a few of its labels."""
    kept = {*COMMON_LABELS, *identity, *labels}
    return each(family, but=(label for label in family.labels if label not in kept))


def states(machine: Machine | None = None, *matchers: str) -> str:
    """Return the selector of the recorded state codes of a kind of machines, or of all kinds."""
    return f"{STATE}{{{', '.join((*_kind(machine), *matchers))}}}"


def available(machine: Machine | None = None) -> str:
    """Return the share of the time range in which machines were up, without unknown time."""
    return f"avg_over_time({UP}{{{', '.join(_kind(machine))}}}[$__range])"


def worst(machine: Machine) -> str:
    """Return the state codes of the machines of a kind that were in the worst states."""
    rank = f"max_over_time({states(machine)}[$__range] @ end())"
    return f"{states(machine)} and topk({SOME}, {rank})"


def _kind(machine: Machine | None) -> tuple[str, ...]:
    return (f'kind="{machine.kind}"',) if machine else ()


def at_end(family: NamedFamily) -> str:
    """Return the newest values in the time range, the same at each time of the range."""
    return merged(f"last_over_time({select(family)}[$__range] @ end())")


def highest(family: NamedFamily, rank: str = "topk", *, signed: bool = False) -> str:
    """Return the series with the highest, or lowest, values at the end of the time range."""
    newest = f"abs({at_end(family)})" if signed else at_end(family)
    return f"{each(family)} and {rank}({SOME}, {newest})"


def in_sum(family: NamedFamily) -> str:
    """Return the sum of a family over the shards; only one process of each shard counts."""
    return shares(family, select(family))


def shares(family: NamedFamily, series: str) -> str:
    """Return the sum over the shards of an expression with a family's labels."""
    place, number = ("job", "instance"), select(own.SHARD_ORDINAL)
    shards = f'(count_values by ({", ".join(place)}) ("shard", {number}) > bool 0)'
    numbered = f"{series} * {on(place)} group_left (shard) {shards}"
    labels = (*COMMON_LABELS, *family.labels) if isinstance(family, Family) else family.labels
    return by("sum", labels, by("max", (*labels, "shard"), numbered))


def per_minute(counter: NamedFamily, labels: Iterable[str], *matchers: str) -> str:
    """Return the growth of a counter per minute, summed by labels."""
    return f"{by('sum', labels, f'rate({select(counter, *matchers)}[$__rate_interval])')} * 60"


def quantile(share: float, histogram: NamedFamily, *labels: str) -> str:
    """Return a quantile of a histogram's newest observations, by labels."""
    grown = f"rate({select(histogram)}[$__rate_interval])"
    return f"histogram_quantile({share:g}, {by('sum', ('le', *labels), grown)})"


def by(aggregation: str, labels: Iterable[str], expression: str) -> str:
    """Return an aggregation by these labels, which drops the users' labels, too."""
    return f"{aggregation} by ({', '.join(labels)}) ({expression})"


def on(labels: Iterable[str]) -> str:
    """Return the clause that matches two expressions on some labels."""
    return f"on ({', '.join(labels)})"


def either(*expressions: str) -> str:
    """Return the union of expressions; of series with the same labels the first one counts."""
    return " or ".join(expressions)


def labelled(expression: str, label: str, value: str) -> str:
    """Return an expression with an additional label."""
    return f'label_replace({expression}, "{label}", "{value}", "", "")'
