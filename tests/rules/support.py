"""The places of the rules, and calls of their programs."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.alerts.formats import rules_file
from exporter.alerts.table import rules
from exporter.alerts.thresholds import RUNBOOK_URL, Thresholds
from tests.support.servers import require


if TYPE_CHECKING:
    from exporter.alerts.rule import Rule


FOLDER = Path(__file__).parent
DEPLOY = FOLDER.parent.parent / "deploy"
COMMITTED = DEPLOY / "prometheus" / "alerts.yml"

#: With nothing left out.
EVERYTHING = Thresholds.model_validate({"suite_overdue": "1d"})


@cache
def every_rule() -> tuple[Rule, ...]:
    """Return the whole table, with what is off by default."""
    return rules(EVERYTHING)


def text_of(thresholds: Thresholds) -> str:
    """Return the rules as the command prints them."""
    return rules_file(rules(thresholds), runbook_url=RUNBOOK_URL)


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, or skip the test where it is missing."""
    return subprocess.run(
        [require(program), *map(str, arguments)], capture_output=True, text=True, check=False
    )
