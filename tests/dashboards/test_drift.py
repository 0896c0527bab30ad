from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import yaml

from exporter.alerts.settings import AlertingSettings
from exporter.cli import main
from exporter.commands.dashboards import dashboards
from tests.dashboards.boards import FOLDER, GRAFANA
from tests.deploy.install import PAGE, commands
from tests.deploy.locks import ROOT


if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def generated() -> dict[str, str]:
    """Return the text of each file by its name."""
    alerting = AlertingSettings()
    return {f"{one.uid}.json": one.text(alerting) for one in dashboards(alerting)}


def test_the_committed_dashboards_are_the_generated_ones() -> None:
    """A change of the catalogue or the table must reach whoever takes the files."""
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}

    assert generated() == committed


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody who does not know their names must be able to ask."""
    code = main(["dashboards"], environ={})

    assert 0 == code
    assert 5 == len(capsys.readouterr().out.splitlines())


def test_the_command_prints_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The command must print exactly the dashboard's file."""
    code = main(["dashboards", "loadfleet-agents"], environ={})

    assert 0 == code
    assert (FOLDER / "loadfleet-agents.json").read_text() == capsys.readouterr().out


def test_the_command_writes_all(tmp_path: Path) -> None:
    """The folder must be ready for Grafana's provisioning, also if it was not there."""
    folder = tmp_path / "grafana" / "dashboards"

    code = main(["dashboards", "--folder", str(folder)], environ={})

    assert 0 == code
    assert generated() == {path.name: path.read_text() for path in folder.iterdir()}


def test_the_command_follows_no_link(tmp_path: Path) -> None:
    """The command must replace a link that has a dashboard's name, and not follow it."""
    (tmp_path / "precious").write_text("kept")
    path = tmp_path / "loadfleet-agents.json"
    path.symlink_to("precious")

    main(["dashboards", "loadfleet-agents", "--folder", str(tmp_path)], environ={})

    assert "kept" == (tmp_path / "precious").read_text()
    assert generated()[path.name] == path.read_text()


def test_the_command_names_a_folder_it_cannot_write_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that cannot be written to must be an error without a traceback."""
    (tmp_path / "file").write_text("")

    code = main(["dashboards", "--folder", str(tmp_path / "file")], environ={})

    assert 2 == code
    assert f"--folder: {tmp_path / 'file'}/" in capsys.readouterr().err


def test_the_command_takes_the_configured_thresholds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines on dashboards and limits of alerts must be of one configuration."""
    path = tmp_path / "loadfleet.yml"
    path.write_text(yaml.safe_dump({"alerting": {"thresholds": {"clock_skew": "1234s"}}}))

    main(["dashboards", "loadfleet-agents", f"--config.file={path}"], environ={})

    assert '"value": 1234' in capsys.readouterr().out


def test_the_commands_of_the_page_install_them(tmp_path: Path) -> None:
    """Grafana finds the dashboards, and a folder has those with the configuration's limits."""
    data, provisioning = tmp_path / "var", tmp_path / "etc" / "grafana/provisioning/dashboards"
    provisioning.mkdir(parents=True)
    (tmp_path / "loadfleet.yml").write_text("alerting: {thresholds: {clock_skew: 1234s}}")
    script = "".join(commands("Get them into Grafana", PAGE.with_name("dashboards.md")))
    for old, new in {
        "sudo ": "",
        "/etc/": f"{tmp_path}/etc/",
        "/var/": f"{data}/",
        "loadfleet-exporter ": f"{sys.executable} -m exporter ",
        "=loadfleet.yml": f"={tmp_path}/loadfleet.yml",
        "--folder=": f"--folder={tmp_path}/",
    }.items():
        script = script.replace(old, new)

    done = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    written = {path.name: path.read_text() for path in (tmp_path / "dashboards").iterdir()}
    installed = {path.name: path.read_text() for path in data.rglob("*.json")}
    assert generated() == installed
    assert installed.keys() == written.keys()
    assert '"value": 1234' in written["loadfleet-agents.json"]
    assert done.stdout == installed["loadfleet-overview.json"]
    assert ["loadfleet.yml"] == [path.name for path in provisioning.iterdir()]


class TestProvisioning:
    def test_the_dashboards_are_found(self) -> None:
        """Grafana must load them and nobody must be able to change them there."""
        text = (GRAFANA / "provisioning" / "dashboards" / "loadfleet.yml").read_text()
        (provider,) = yaml.safe_load(text)["providers"]

        assert "file" == provider["type"]
        assert False is provider["allowUiUpdates"]
        assert "/var/lib/grafana/dashboards" == provider["options"]["path"]

    def test_the_data_source_knows_how_often_prometheus_scrapes(self) -> None:
        """With a wrong interval rates have holes."""
        text = (GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text()
        (source,) = yaml.safe_load(text)["datasources"]
        prometheus = GRAFANA.parent / "deploy" / "prometheus" / "prometheus.yml"
        expected = yaml.safe_load(prometheus.read_text())["global"]["scrape_interval"]

        assert expected == source["jsonData"]["timeInterval"]
        assert ("prometheus", True) == (source["type"], source["isDefault"])
