"""The Helm chart, rendered by Helm."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.locks import ROOT
from tests.support.servers import require


if TYPE_CHECKING:
    from pathlib import Path


CHART = ROOT / "deploy" / "helm" / "loadfleet-exporter"


def helm(*arguments: str | Path, values: dict[str, Any] | None = None) -> str:
    """Return what Helm prints.

    Raises:
        AssertionError: It fails; with its message.
    """
    ended = attempt(*arguments, values=values)
    assert 0 == ended.returncode, ended.stderr
    return ended.stdout


def rendered(
    values: dict[str, Any] | None = None,
    *,
    release: str = "loadfleet",
    namespace: str = "load",
    chart: Path = CHART,
) -> list[dict[str, Any]]:
    """Return the objects that the chart makes."""
    return parsed_yaml(helm("template", release, chart, "--namespace", namespace, values=values))


def parsed_yaml(text: str) -> list[dict[str, Any]]:
    """Return the objects of a manifest, in the order of their kinds and names."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = [each for each in yaml.load_all(text, loader) if each]
    return sorted(found, key=lambda each: (each["kind"], each["metadata"]["name"]))


def one(kind: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the only object of a kind."""
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def refusal(values: dict[str, Any]) -> str:
    """Return the message with which values are refused."""
    ended = attempt("template", "loadfleet", CHART, values=values)
    assert 1 == ended.returncode, ended.stdout
    return ended.stderr


def attempt(
    *arguments: str | Path, values: dict[str, Any] | None
) -> subprocess.CompletedProcess[str]:
    """Return how Helm ended and what it printed."""
    return subprocess.run(
        [require("helm"), *arguments, *(["--values", "-"] if values else [])],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )
