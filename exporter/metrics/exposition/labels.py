"""Write the labels of a series as both formats want them."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping


def block(labels: Mapping[str, str]) -> str:
    """Render what stands between a name and its value: sorted labels, and a space."""
    if not labels:
        return " "
    inner = ",".join([f'{name}="{_escape(labels[name])}"' for name in sorted(labels)])
    return f"{{{inner}}} "


def _escape(value: str) -> str:
    if not value.isascii():
        # A lone surrogate cannot be sent: it would break the page for all others.
        value = value.encode("utf-8", "replace").decode()
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
