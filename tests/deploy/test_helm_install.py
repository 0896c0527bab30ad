"""The chart as it is published: its package, and the commands that install it from a registry."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exporter import __version__
from tests.deploy import install
from tests.deploy.chart import (
    BASE,
    CASES,
    CHART,
    MONITORED,
    helm,
    one,
    parsed_yaml,
    rendered,
)
from tests.deploy.locks import ROOT
from tests.deploy.registry import registry
from tests.deploy.tools import tool
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def package(dist: Path) -> Path:
    require("helm")
    return dist / f"loadfleet-exporter-{__version__}.tgz"


def test_the_package_is_of_this_version(package: Path) -> None:
    """Chart, application and image must be released as one."""
    described = yaml.safe_load(helm("show", "chart", package))

    assert [__version__] * 2 == [described["version"], described["appVersion"]]
    (exporter,) = one("Deployment", rendered())["spec"]["template"]["spec"]["containers"]
    (image,) = yaml.safe_load(described["annotations"]["artifacthub.io/images"])
    assert f"ghcr.io/loadfleet/loadfleet-exporter:{__version__}" == image["image"]
    assert image["image"] == exporter["image"]


def test_the_package_renders_what_the_folder_does(package: Path) -> None:
    """The packaged chart must render the same as its folder: it must lack no file."""
    given = {**BASE, **MONITORED}

    assert rendered(given) == rendered(given, chart=package)


def test_the_package_has_only_what_belongs_there(package: Path, tmp_path: Path) -> None:
    """The package must contain exactly the chart's files, and no link."""
    shutil.unpack_archive(package, tmp_path, filter="data")
    inside = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    folders = {
        "templates": CHART / "templates",
        "files/dashboards": ROOT / "grafana" / "dashboards",
    }

    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]
    assert {
        f"loadfleet-exporter/{name}"
        for name in (
            *("Chart.yaml", "README.md", "values.yaml", "values.schema.json"),
            *(".helmignore", "files/alerts.yml"),
            *(
                f"{to}/{path.name}"
                for to, folder in folders.items()
                for path in folder.glob("[!.]*")
            ),
        )
    } == inside


def test_a_release_can_be_stored(package: Path) -> None:
    """Helm keeps a release with its chart in one Secret, which takes 1 MiB."""
    given = {**CASES["everything"], **MONITORED, "fullnameOverride": "loadfleet"}

    stored = base64.b64encode(gzip.compress(installed(package, given).encode()))

    assert b'"files/dashboards' in installed(package, given).encode()
    assert len(stored) < 2**20 * 3 / 4


@pytest.mark.parametrize(
    ("given", "expected", "unexpected"),
    [
        ({}, "No source is configured, so no exporter was started", "port-forward"),
        ({"demo": True}, "Its data are not real", "No source is configured"),
        (BASE, "port-forward deployment/loadfleet-exporter 10871", "WARNING"),
        ({**BASE, "shards": 2}, "port-forward statefulset/loadfleet-exporter 10871", "deployment/"),
        (CASES["everything"], "https://localhost:10871/fleet/", "http://"),
        (CASES["everything"], "WARNING: The secrets are stored", "does not discover"),
        (
            {**BASE, "prometheusScrape": False},
            "Prometheus does not discover the exporter",
            "WARNING",
        ),
    ],
)
def test_the_notes_say_what_comes_next(
    given: dict[str, Any], expected: str, unexpected: str
) -> None:
    """After the installation it must be clear what runs and how to look at it."""
    release = json.loads(installed(CHART, given))

    assert expected in release["info"]["notes"]
    assert unexpected not in release["info"]["notes"]


def installed(chart: Path, given: dict[str, Any]) -> str:
    """Return the release that Helm would store, as JSON."""
    options = ("--namespace", "load", "--dry-run=client", "--output", "json")
    return helm("install", "loadfleet", chart, *options, values=given)


# -- Its commands ---------------------------------------------------------------------------------


#: Adapts the commands: the registry here speaks plain HTTP, and without a cluster they only render.
#: `helm upgrade` would look for the release, so it becomes `helm install` with the same flags.
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
async def address(package: Path, tmp_path: Path) -> AsyncIterator[str]:
    """Yield a registry to which the chart was pushed."""
    async with registry(tmp_path) as found:
        helm("push", package, f"oci://{found}/loadfleet/charts", "--plain-http")
        yield found


def run(script: str, address: str, folder: Path) -> str:
    """Return the output of commands, run in a folder with the files that they need."""
    (folder / "realload_token").write_text("secret")
    ended = subprocess.run(
        ["bash", "-c", PREAMBLE + script.replace("oci://ghcr.io/", f"oci://{address}/")],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(tool('kubectl')).parent}:{os.environ['PATH']}",
            "HELM_CACHE_HOME": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    return ended.stdout


async def test_the_page_installs_the_package(address: str, tmp_path: Path) -> None:
    """Copied from top to bottom, the commands must install this version with the user's values."""
    page = install.PAGE.with_name("helm.md")
    example = "".join(blocks("yaml", page.read_text()))
    (tmp_path / "values.yaml").write_text(example)
    values = yaml.safe_load(example)
    (first,), (second,) = (install.commands(each, page) for each in ("Install", "Upgrade"))

    namespace, secret, installed = parsed(run(first, address, tmp_path))
    shown, json_after = run(second, address, tmp_path).split("\n{", 1)

    assert namespace["metadata"]["name"] == secret["metadata"]["namespace"]
    assert values["existingSecret"] == secret["metadata"]["name"]
    assert ["realload_token"] == list(secret["data"])
    assert shown.startswith((CHART / "values.yaml").read_text())
    for release in (installed, *parsed("{" + json_after)):
        assert __version__ == release["chart"]["metadata"]["version"]
        assert namespace["metadata"]["name"] == release["namespace"]
        assert rendered(
            values, release=release["name"], namespace=release["namespace"]
        ) == parsed_yaml(release["manifest"])


async def test_the_commands_of_the_charts_page_work(address: str, tmp_path: Path) -> None:
    """The commands on the chart's own page must work as they are written."""
    page = (CHART / "README.md").read_text()
    example = blocks("yaml", page)[0]
    (tmp_path / "values.yaml").write_text(example)
    (tmp_path / "loadfleet.yml").write_text("alerting: {alerts: {SuiteFailed: {off: true}}}")

    first, rules, upgrade = (run(block, address, tmp_path) for block in blocks("sh", page))

    secret, installed = parsed(first)
    (upgraded,) = parsed(upgrade)
    expected = rendered(
        yaml.safe_load(example),
        release=installed["name"],
        namespace=secret["metadata"]["namespace"],
    )
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
    """Return consecutive JSON documents, without other lines."""
    decoder = json.JSONDecoder()
    found = []
    while (start := text.find("{")) >= 0:
        document, end = decoder.raw_decode(text[start:])
        found.append(document)
        text = text[start + end :]
    return found
