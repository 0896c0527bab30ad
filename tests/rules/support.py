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


DEPLOY = Path(__file__).parent.parent.parent / "deploy"
COMMITTED = DEPLOY / "prometheus" / "alerts.yml"


@cache
def every_rule() -> tuple[Rule, ...]:
    """Return the whole table, with what is off by default."""
    return everything().rules()


def everything() -> AlertingSettings:
    """Return settings under which no alert is left out."""
    return AlertingSettings(thresholds=EVERYTHING)


def text_of(settings: AlertingSettings) -> str:
    """Return the rules as the command prints them."""
    return rules_file(settings.rules(), RulesOptions.of(settings))


def run(
    program: str, *arguments: str | Path, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, or skip the test where it is missing."""
    command = [require(program), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
