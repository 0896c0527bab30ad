"""The places of the rules, and calls of their programs."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.alerts.formats import RulesOptions, rules_file
from exporter.alerts.settings import AlertingSettings
from exporter.alerts.table import EVERYTHING
from tests.support.servers import require


if TYPE_CHECKING:
    from exporter.alerts.rule import Rule


FOLDER = Path(__file__).parent
DEPLOY = FOLDER.parent.parent / "deploy"
COMMITTED = DEPLOY / "prometheus" / "alerts.yml"


@cache
def every_rule() -> tuple[Rule, ...]:
    """Return the whole table, with what is off by default."""
    return AlertingSettings(thresholds=EVERYTHING).rules()


def text_of(settings: AlertingSettings) -> str:
    """Return the rules as the command prints them."""
    return rules_file(settings.rules(), RulesOptions.of(settings))


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, or skip the test where it is missing."""
    return subprocess.run(
        [require(program), *map(str, arguments)], capture_output=True, text=True, check=False
    )
