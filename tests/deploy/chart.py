"""The Helm chart, test values, and Helm, which renders it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.locks import ROOT
from tests.support.servers import require


CHART = ROOT / "deploy" / "helm" / "loadfleet-exporter"

#: The folder of the Secret's files in the pod.
SECRETS = "/run/secrets/loadfleet"
BASE: dict[str, Any] = {
    "fullnameOverride": "loadfleet-exporter",
    "existingSecret": "loadfleet-exporter",
    "config": {
        "sources": [
            {
                "provider": "realload",
                "name": "prod",
                "url": "https://portal.realload.com/RemoteUserAPI",
                "auth_token_file": f"{SECRETS}/realload_token",
            }
        ]
    },
}
STORE = {"state": {"url": "redis://valkey.example.com:6379/0", "passwordKey": "state_password"}}
LABELS = {
    "app.kubernetes.io/name": "loadfleet-exporter",
    "app.kubernetes.io/part-of": "loadfleet",
}
MONITORED = {
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
}
COPY = {**BASE, **STORE, "shards": 3}

#: For each folder of manifests, the chart's values and release name that must give the same.
KUSTOMIZE: dict[str, tuple[dict[str, Any], str]] = {
    "base": (BASE, "loadfleet"),
    "overlays/high-availability": ({**BASE, **STORE, "replicas": 2}, "loadfleet"),
    "overlays/prometheus-operator": ({**BASE, **MONITORED}, "loadfleet"),
    "overlays/sharded": ({**BASE, "shards": 3}, "loadfleet"),
    "overlays/sharded-pairs/a": (
        {
            **COPY,
            "fullnameOverride": "loadfleet-exporter-a",
            "podDisruptionBudget": {"matchLabels": LABELS},
        },
        "loadfleet-a",
    ),
    "overlays/sharded-pairs/b": (
        {
            **COPY,
            "fullnameOverride": "loadfleet-exporter-b",
            "podDisruptionBudget": {"enabled": False},
        },
        "loadfleet-b",
    ),
}

EXAMPLES = re.findall(
    r"^```yaml\n(.*?)^```$", (CHART / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "demo": {"demo": True},
    **{folder: values for folder, (values, _) in KUSTOMIZE.items()},
    **{f"README {number}": yaml.safe_load(text) for number, text in enumerate(EXAMPLES)},
    **{
        path.stem: yaml.safe_load(path.read_text()) for path in Path(__file__).parent.glob("helm/*")
    },
}


def helm(*arguments: str | Path, values: dict[str, Any] | None = None) -> str:
    """Return Helm's output.

    Raises:
        AssertionError: Helm failed, with its message.
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
    """Return the message of Helm's refusal of values."""
    ended = attempt("template", "loadfleet", CHART, values=values)
    assert 1 == ended.returncode, ended.stdout
    return ended.stderr


def attempt(
    *arguments: str | Path, values: dict[str, Any] | None
) -> subprocess.CompletedProcess[str]:
    """Return Helm's exit code and output."""
    return subprocess.run(
        [require("helm"), *arguments, *(["--values", "-"] if values else [])],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )
