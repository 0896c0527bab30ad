"""PromQL as text: selectors that obey a dashboard's variables, and what is done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from exporter.metrics.catalogue import COMMON_LABELS, Family


if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.dashboards.metrics import Metric


Aggregation = Literal["avg", "count", "max", "min", "sum"]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The choice that a dashboard's variables make.

    Attributes:
        variables: The labels that have a variable of their own name, beside the job.
    """

    variables: tuple[str, ...] = COMMON_LABELS

    def select(self, metric: Family | Metric, *matchers: str) -> str:
        """Select the chosen series of a metric.

        Args:
            metric: A vendor family or another metric.
            matchers: What else must hold, such as `phase="running"`.
        """
        labels = labels_of(metric)
        variables = ("job", *(name for name in self.variables if name in labels))
        chosen = (f'{name}=~"${name}"' for name in variables)
        return f"{metric.name}{{{', '.join((*chosen, *matchers))}}}"

    def each(self, metric: Family | Metric, *matchers: str) -> str:
        """Select one series per object, however many exporters watch it.

        Without this, two exporters side by side, or one that was moved, would show all twice.
        """
        return by("max", labels_of(metric), self.select(metric, *matchers))

    def per_minute(self, counter: Metric, *labels: str, matchers: tuple[str, ...] = ()) -> str:
        """Return by how much a counter grows in a minute, added up by labels."""
        return f"{by('sum', labels, rate(self.select(counter, *matchers)))} * 60"

    def quantile(self, share: float, histogram: Metric, *labels: str) -> str:
        """Return the quantile of a histogram's newest observations, by labels."""
        grown = by("sum", ("le", *labels), rate(self.select(histogram)))
        return f"histogram_quantile({share:g}, {grown})"


def labels_of(metric: Family | Metric) -> tuple[str, ...]:
    """Return all labels that the exporter gives a metric."""
    if isinstance(metric, Family):
        return (*COMMON_LABELS, *metric.labels)
    return metric.labels


def by(aggregation: Aggregation, labels: Iterable[str], expression: str) -> str:
    """Aggregate over all labels but these."""
    return f"{aggregation} by ({', '.join(labels)}) ({expression})"


def on(labels: Iterable[str]) -> str:
    """Return by which labels two expressions are matched."""
    return f"on ({', '.join(labels)})"


def either(*expressions: str) -> str:
    """Unite what expressions select; where the labels are the same, the first one's counts."""
    return " or ".join(expressions)


def rate(selector: str) -> str:
    """Return how much a counter grows in a second."""
    return f"rate({selector}[$__rate_interval])"


def labelled(expression: str, label: str, value: str) -> str:
    """Give all series a label."""
    return f'label_replace({expression}, "{label}", "{value}", "", "")'


def copied(expression: str, label: str, source: str) -> str:
    """Give all series a label with the value of another one."""
    return f'label_replace({expression}, "{label}", "$1", "{source}", "(.*)")'
