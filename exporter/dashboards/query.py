"""PromQL as text: selectors that obey a dashboard's variables, and what is done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from exporter.metrics import own
from exporter.metrics.catalogue import COMMON_LABELS, Family
from exporter.metrics.own import OwnFamily


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.metrics.catalogue import NamedFamily


class Scope(msgspec.Struct, frozen=True):
    """The choice that a dashboard's variables make.

    Attributes:
        variables: The labels that have a variable of their own name, beside the job.
    """

    variables: tuple[str, ...] = COMMON_LABELS

    def select(self, family: NamedFamily, *matchers: str) -> str:
        """Select the chosen series of a family, of which matchers must hold too."""
        labels = labels_of(family)
        variables = ("job", *(name for name in self.variables if name in labels))
        chosen = (f'{name}=~"${name}"' for name in variables)
        name = family.series if isinstance(family, OwnFamily) else family.name
        return f"{name}{{{', '.join((*chosen, *matchers))}}}"

    def each(self, family: NamedFamily, *matchers: str) -> str:
        """Select one series per object, however many exporters watch it.

        Without this, two exporters side by side, or one that was moved, would show all twice.
        """
        return by("max", labels_of(family), self.select(family, *matchers))

    def in_sum(self, family: NamedFamily) -> str:
        """Add up what shards show of a family; of several processes of a shard one counts."""
        return self.shares(family, self.select(family))

    def shares(self, family: NamedFamily, series: str) -> str:
        """Add up what each shard has of a family's series."""
        place, number = ("job", "instance"), self.select(own.SHARD_ORDINAL)
        shards = f'(count_values by ({", ".join(place)}) ("shard", {number}) > bool 0)'
        told = f"{series} * {on(place)} group_left (shard) {shards}"
        labels = labels_of(family)
        return by("sum", labels, by("max", (*labels, "shard"), told))

    def per_minute(self, counter: NamedFamily, labels: Iterable[str], *matchers: str) -> str:
        """Return by how much a counter grows in a minute, added up by labels."""
        grown = f"rate({self.select(counter, *matchers)}[$__rate_interval])"
        return f"{by('sum', labels, grown)} * 60"

    def quantile(self, share: float, histogram: OwnFamily[Any], *labels: str) -> str:
        """Return the quantile of a histogram's newest observations, by labels."""
        grown = f"rate({self.select(histogram)}[$__rate_interval])"
        return f"histogram_quantile({share:g}, {by('sum', ('le', *labels), grown)})"


def labels_of(family: NamedFamily) -> tuple[str, ...]:
    """Return all labels that the exporter gives the series of a family."""
    return (*COMMON_LABELS, *family.labels) if isinstance(family, Family) else family.labels


def by(aggregation: str, labels: Iterable[str], expression: str) -> str:
    """Aggregate over all labels but these."""
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
