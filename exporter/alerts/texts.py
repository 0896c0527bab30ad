"""The texts of alerts, rendered by Prometheus' templates or identically by the built-in evaluation.

A text has placeholders for the labels and the value of its alert. A detail is a sentence with facts
from other series, such as the reason why a target is down; without such series it is left out.
"""

from __future__ import annotations

import math
import string
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import msgspec

from exporter.alerts.expression import Comparison, Select, Writing
from exporter.alerts.values import COMPARE
from exporter.clock import utc


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.alerts.samples import Partners


#: The placeholder for the alert's value; all other placeholders are labels.
VALUE = "value"

#: The most names in a list of targets.
MAX_NAMES = 10


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence about an alert's target with a label or the value of another series.

    Attributes:
        text: The sentence, with one `{}` for the label or the value.
        metric: The metric of the other series.
        on: The labels that the other series has in common with the alert.
        label: The label to show. Of several series, the first label in alphabetical order counts.
        form: The function of Prometheus' templates that formats the value, if no label is shown. Of
            several series, the greatest value counts.
        function: The PromQL function applied to the value: `abs` or `floor`.
        only: A comparison that the value of a series must pass for the series to count.
        listed: Whether to show the labels of all series, in alphabetical order.
    """

    text: str
    metric: str
    on: tuple[str, ...]
    label: str = ""
    form: str = ""
    function: str = ""
    only: tuple[Comparison, float] | None = None
    listed: bool = False

    def prometheus(self, writing: Writing) -> str:
        """Return the sentence as a template of Prometheus."""
        same = ",".join(f"{name}=%q" for name in self.on)
        query = Select(metric=f"{self.metric}{{{same}}}").promql(writing)
        if self.listed:
            # Several exporters can show the same targets.
            query = f"max without ({', '.join(writing.without)}) ({query})"
        if self.only is not None:
            query += f" {self.only[0]} {self.only[1]:g}"
        labels = " ".join(f"$labels.{name}" for name in self.on)
        before, after = self.text.split("{}")
        if not self.label:
            asked = f'printf "max({self.function}({query}))" {labels} | query'
            number = f"{{{{ . | first | value | {self.form} }}}}"
            return f"{{{{ with {asked} }}}}{before}{number}{after}{{{{ end }}}}"
        asked = f'printf "{query}" {labels} | query | sortByLabel "{self.label}"'
        if not self.listed:
            shown = f'{{{{ with . | first | label "{self.label}" }}}}{before}{{{{ . }}}}{after}'
            return f"{{{{ with {asked} }}}}{shown}{{{{ end }}}}{{{{ end }}}}"
        more = f'printf "count({query}) - {MAX_NAMES} > 0" {labels} | query'
        return (
            f"{{{{ with {asked} }}}}{before}"
            f"{{{{ range $place, $one := . }}}}{{{{ if lt $place {MAX_NAMES} }}}}"
            "{{ if $place }}, {{ end }}"
            f'{{{{ $one | label "{self.label}" }}}}{{{{ end }}}}{{{{ end }}}}'
            f"{{{{ with {more} }}}} and {{{{ . | first | value }}}} more{{{{ end }}}}"
            f"{after}{{{{ end }}}}"
        )

    def render(self, labels: Mapping[str, str], partners: Partners) -> str:
        """Return the sentence, filled in from the newest samples; empty if no series counts."""
        series = [
            (other, value)
            for other, value in partners.of(self.metric, self.on, labels)
            if self.only is None or COMPARE[self.only[0]](value, self.only[1])
        ]
        if not series:
            return ""
        if self.listed:
            names = sorted(other.get(self.label, "") for other, _ in series)
            found = ", ".join(names[:MAX_NAMES])
            if len(names) > MAX_NAMES:
                found += f" and {len(names) - MAX_NAMES} more"
        elif self.label:
            found = min(other.get(self.label, "") for other, _ in series)
        else:
            apply = _FUNCTIONS[self.function]
            found = FORMATS[self.form](max(apply(value) for _, value in series))
        return self.text.format(found) if found else ""


class Text(msgspec.Struct, frozen=True):
    """A text in which `{agent}` is a label and `{value:humanizeDuration}` the formatted value."""

    template: str
    details: tuple[Detail, ...] = ()

    def prometheus(self, writing: Writing) -> str:
        """Return the text as a template of Prometheus."""
        return self._placed("$value") + "".join(each.prometheus(writing) for each in self.details)

    def grafana(self) -> str:
        """Return the text as a template of Grafana, without details, which Grafana cannot query."""
        return self._placed("$values.A.Value")

    def render(self, labels: Mapping[str, str], value: float, partners: Partners) -> str:
        """Return the text for an alert; a missing label is empty."""

        def label_text(label: str, form: str) -> str:
            found = labels.get(label, "")
            return quote_plus(found) if form else found

        text = self._filled(label_text, lambda form: FORMATS[form](value))
        return text + "".join(detail.render(labels, partners) for detail in self.details)

    def _placed(self, value: str) -> str:
        return self._filled(
            lambda label, form: f"{{{{ $labels.{label}{f' | {form}' if form else ''} }}}}",
            lambda form: f"{{{{ {value} | {form} }}}}",
        )

    def _filled(
        self, label_text: Callable[[str, str], str], value_text: Callable[[str], str]
    ) -> str:
        text = ""
        for literal, field, form, _ in string.Formatter().parse(self.template):
            text += literal
            if field == VALUE:
                text += value_text(form or "")
            elif field:
                text += label_text(field, form or "")
        return text


def humanize_duration(seconds: float) -> str:
    """Return a duration as Prometheus' `humanizeDuration` does, such as `1h 2m 3s`."""
    if not math.isfinite(seconds):
        return _infinite(seconds)
    if abs(seconds) < 1:
        return _below_a_second(seconds)
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {rest}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {rest}s"
    if minutes:
        return f"{sign}{minutes}m {rest}s"
    return f"{sign}{seconds:.4g}s"


def humanize_percentage(ratio: float) -> str:
    """Return a ratio in per cent as Prometheus' `humanizePercentage` does."""
    return f"{ratio * 100:.4g}%" if math.isfinite(ratio) else f"{_infinite(ratio)}%"


def humanize_timestamp(seconds: float) -> str:
    """Return a Unix time in UTC as Prometheus' `humanizeTimestamp` does with whole seconds."""
    if not math.isfinite(seconds):
        return _infinite(seconds)
    return f"{utc(math.floor(seconds)):%Y-%m-%d %H:%M:%S} +0000 UTC"


def _below_a_second(seconds: float) -> str:
    prefix = ""
    for smaller in "munpfazy":
        if seconds == 0 or abs(seconds) >= 1:
            break
        prefix, seconds = smaller, seconds * 1000
    return f"{seconds:.4g}{prefix}s"


def _infinite(value: float) -> str:
    # Go's spelling.
    return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"


#: The formatting functions, by the name of Prometheus' function.
FORMATS: dict[str, Callable[[float], str]] = {
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
    "humanizeTimestamp": humanize_timestamp,
}

_FUNCTIONS: dict[str, Callable[[float], float]] = {"": float, "abs": abs, "floor": math.floor}
