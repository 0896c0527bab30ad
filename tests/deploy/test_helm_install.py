"""The chart's commands, as users copy them, with the package from a registry."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exporter import __version__
from tests.deploy import install
from tests.deploy.chart import CHART, helm, one, parsed_yaml, rendered
from tests.deploy.registry import registry
from tests.deploy.tools import tool


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


pytestmark = pytest.mark.slow

#: The registry here speaks plain HTTP, and there is no cluster: nothing is sent to one, and what
#: would be compared with it is only read. An upgrade looks for the release, an installation with
#: the same flags does not.
PREAMBLE = """\
set -euo pipefail
helm() {
    local verb=${1/upgrade/install}
    local dry=()
    [ "$verb" != install ] || dry=(--dry-run=client --output=json)
    command helm "$verb" "${@:2}" --plain-http "${dry[@]}"
}
kubectl() {
    case $* in
        diff*) cat >differing.yaml ;;
        *) command kubectl "$@" --dry-run=client --output=json ;;
    esac
}
"""


@pytest.fixture
async def address(dist: Path, tmp_path: Path) -> AsyncIterator[str]:
    """Yield a registry to which the chart was pushed."""
    async with registry(tmp_path) as found:
        package = dist / f"loadfleet-exporter-{__version__}.tgz"
        helm("push", package, f"oci://{found}/loadfleet/charts", "--plain-http")
        yield found


def run(script: str, address: str, folder: Path) -> str:
    """Return what commands print, in a folder with the files that they take."""
    (folder / "realload_token").write_text("secret")
    ended = subprocess.run(
        ["bash", "-c", PREAMBLE + script.replace("oci://ghcr.io/", f"oci://{address}/")],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(tool('kubectl')).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    return ended.stdout


async def test_the_page_installs_the_package(address: str, tmp_path: Path) -> None:
    """Copied from top to bottom, the commands must install this version with the user's values."""
    section = install.PAGE.read_text().partition("\n## Helm chart\n")[2].partition("\n## ")[0]
    example = "".join(blocks("yaml", section))
    (tmp_path / "values.yaml").write_text(example)
    values = yaml.safe_load(example)
    first, second = install.commands("Helm chart")

    namespace, secret, installed = parsed(run(first, address, tmp_path))
    shown, json_after = run(second, address, tmp_path).split("\n{", 1)

    assert namespace["metadata"]["name"] == secret["metadata"]["namespace"]
    assert values["existingSecret"] == secret["metadata"]["name"]
    assert ["realload_token"] == list(secret["data"])
    assert shown.startswith((CHART / "values.yaml").read_text())
    for release in (installed, *parsed("{" + json_after)):
        assert __version__ == release["chart"]["metadata"]["version"]
        assert namespace["metadata"]["name"] == release["namespace"]
        assert rendered(values, namespace=release["namespace"]) == parsed_yaml(release["manifest"])


async def test_the_commands_of_the_charts_page_work(address: str, tmp_path: Path) -> None:
    """Whoever finds the chart in a catalogue reads its own page, and copies from there."""
    page = (CHART / "README.md").read_text()
    example = blocks("yaml", page)[0]
    (tmp_path / "values.yaml").write_text(example)
    (tmp_path / "loadfleet.yml").write_text("alerting: {alerts: {SuiteFailed: {off: true}}}")

    first, rules, upgrade = (run(block, address, tmp_path) for block in blocks("sh", page))

    secret, installed = parsed(first)
    (upgraded,) = parsed(upgrade)
    expected = rendered(yaml.safe_load(example), namespace=secret["metadata"]["namespace"])
    assert expected == parsed_yaml(installed["manifest"]) == parsed_yaml(upgraded["manifest"])
    assert expected == parsed_yaml((tmp_path / "differing.yaml").read_text())
    new_values = (tmp_path / "new-values.yaml").read_text()
    assert (CHART / "values.yaml").read_text().strip() == new_values.strip()
    assert "LoadFleetSuiteFailed" not in rules
    groups = yaml.safe_load(rules)["groups"]
    given = rendered({"prometheusRule": {"enabled": True, "groups": groups}})
    assert groups == one("PrometheusRule", given)["spec"]["groups"]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def parsed(text: str) -> list[dict[str, Any]]:
    """Return the JSON documents that stand one after the other, and leave out other lines."""
    decoder = json.JSONDecoder()
    found = []
    while (start := text.find("{")) >= 0:
        document, end = decoder.raw_decode(text[start:])
        found.append(document)
        text = text[start + end :]
    return found
