"""Texts with places for labels and the value, filled in the same by Prometheus and by us."""

from __future__ import annotations

import math
import string
from typing import TYPE_CHECKING

import msgspec


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


#: The field that stands for the value and not for a label.
VALUE = "value"


class Text(msgspec.Struct, frozen=True):
    """A text in which `{agent}` is a label and `{value:humanizeDuration}` the formatted value."""

    template: str

    def labels(self) -> tuple[str, ...]:
        """Return the labels it mentions."""
        return tuple(field for _, field, _ in self._parts() if field not in ("", VALUE))

    def prometheus(self) -> str:
        """Return it as a template of Prometheus."""
        text = ""
        for literal, field, form in self._parts():
            text += literal
            if field == VALUE:
                text += f"{{{{ $value | {form} }}}}"
            elif field:
                text += f"{{{{ $labels.{field} }}}}"
        return text

    def render(self, labels: Mapping[str, str], value: float) -> str:
        """Fill it in; a label that is missing is empty."""
        text = ""
        for literal, field, form in self._parts():
            text += literal
            if field == VALUE:
                text += FORMATS[form](value)
            elif field:
                text += labels.get(field, "")
        return text

    def _parts(self) -> list[tuple[str, str, str]]:
        return [
            (literal, field or "", form or "")
            for literal, field, form, _ in string.Formatter().parse(self.template)
        ]


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
