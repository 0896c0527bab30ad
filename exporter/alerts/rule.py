"""A row of the alert table: a condition, and the texts of its alerts.

A text has places for labels and the value, which Prometheus and the built-in evaluation fill in
the same.
"""

from __future__ import annotations

import math
import string
from enum import StrEnum, unique
from typing import TYPE_CHECKING

import msgspec

from exporter.alerts.expression import Expression


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


#: The beginning of all alerts' names.
PREFIX = "LoadFleet"

#: The labels that identify a source.
SOURCE = ("provider", "source")

#: How long a condition must hold: five polls, so that a blip pages nobody.
HOLD_SECONDS = 300.0

#: How long an alert outlives its condition or its data: a lost scrape, or a restart of the
#: exporter, must neither resolve a page nor repeat it.
KEEP_SECONDS = 300.0

#: The field of a text that stands for the value and not for a label.
VALUE = "value"


@unique
class Severity(StrEnum):
    """The urgency of an alert: it disturbs somebody's sleep, somebody's ticket list, or nobody."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    NONE = "none"


class Rule(msgspec.Struct, frozen=True):
    """A row, by position as rows are: a condition, and what its alerts say.

    Attributes:
        expression: Each series of its result is an alert of its own.
        summary: One plain sentence, the same for all its instances.
        description: The event and the instance it happened to, as the template of a `Text`.
        hold_seconds: How long it is pending before it fires (`for`).
        keep_seconds: How long it goes on firing when the series is gone (`keep_firing_for`).
        built_in: Whether the exporter can judge it itself; of its own absence it cannot.
    """

    name: str
    severity: Severity
    expression: Expression
    summary: str
    description: str
    hold_seconds: float = HOLD_SECONDS
    keep_seconds: float = KEEP_SECONDS
    built_in: bool = True

    @property
    def runbook(self) -> str:
        """The runbook's file name."""
        return f"{self.name}.md"

    def annotations(self, *, runbook_url: str) -> dict[str, Text]:
        """Return its annotations, the runbook's under a base address."""
        return {
            "summary": Text(self.summary),
            "description": Text(self.description),
            "runbook_url": Text(f"{runbook_url.rstrip('/')}/{self.runbook}"),
        }


class Text(msgspec.Struct, frozen=True):
    """A text in which `{agent}` is a label and `{value:humanizeDuration}` the formatted value."""

    template: str

    def prometheus(self) -> str:
        """Return it as a template of Prometheus."""
        return self._filled(
            lambda label: f"{{{{ $labels.{label} }}}}", lambda form: f"{{{{ $value | {form} }}}}"
        )

    def render(self, labels: Mapping[str, str], value: float) -> str:
        """Fill it in; a label that is missing is empty."""
        return self._filled(lambda label: labels.get(label, ""), lambda form: FORMATS[form](value))

    def _filled(self, label_text: Callable[[str], str], value_text: Callable[[str], str]) -> str:
        text = ""
        for literal, field, form, _ in string.Formatter().parse(self.template):
            text += literal
            if field == VALUE:
                text += value_text(form or "")
            elif field:
                text += label_text(field)
        return text


def humanize_duration(seconds: float) -> str:
    """Write a duration as Prometheus' function of that name does, such as `1h 2m 3s`."""
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
    """Write a ratio in per cent as Prometheus' function of that name does."""
    return f"{ratio * 100:.4g}%" if math.isfinite(ratio) else f"{_infinite(ratio)}%"


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


#: How a value can be written, by the name of Prometheus' function.
FORMATS: dict[str, Callable[[float], str]] = {
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
}
