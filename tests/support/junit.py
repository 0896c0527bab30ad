"""JUnit reports, validated by the schema that CI servers agree on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest


_SCHEMA = Path(__file__).parents[1] / "fixtures" / "junit.xsd"


@cache
def _schema() -> Any:
    etree = pytest.importorskip("lxml.etree")
    return etree.XMLSchema(etree.parse(_SCHEMA))


def parsed(text: str) -> Any:
    """Return the root of a report, which must be valid."""
    etree = pytest.importorskip("lxml.etree")
    root = etree.fromstring(text.encode())
    _schema().assertValid(root)
    return root
