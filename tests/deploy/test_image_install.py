"""The page's commands on the image, as typed, with the built image.

Replaced are the portal's address by that of a simulated one, `sudo` by nothing, and the timer of
the health check, which podman leaves to systemd, by one check.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from exporter import __version__
from exporter.simulator.options import SimulatorOptions
from tests.deploy.image import NAME
from tests.deploy.install import commands
from tests.support.processes import running
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.image import Image


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DEMO, START, LOOK, ASK, CHECK, STOP, TELL = commands("Container image")
PORTAL = "https://portal.realload.com"
TOKEN = SimulatorOptions().token


def test_they_name_what_is_published() -> None:
    """Each command must take the image of this version from the registry."""
    blocks = [DEMO, START, CHECK, TELL]

    assert [True] * 4 == [NAME in block for block in blocks]


async def test_the_demo_serves_its_board(image: Image, tmp_path: Path) -> None:
    """The first command alone must serve the board on the machine's loopback, until Ctrl-C."""
    board = "curl --fail --silent --show-error http://localhost:10871/"
    engine = image.engine

    async with running(*engine.command("bash", "-c", DEMO), folder=tmp_path, name="demo") as demo:
        await until(lambda: "event=started" in demo.errors)
        page = engine.shell(board, folder=tmp_path)
        engine.shell("docker kill --signal INT $(docker ps --quiet)", folder=tmp_path)
        code = await demo.process.wait()

    assert "<title>" in page
    assert 0 == code
    assert "" == engine.shell("docker ps --all --quiet", folder=tmp_path)


async def test_a_portal_is_watched(image: Image, tmp_path: Path) -> None:
    """The commands must lead from a token to a table of the fleet, with a state that stays."""
    engine = image.engine
    async with engine.portal() as portal:
        engine.shell(START.replace(PORTAL, portal), folder=tmp_path, stdin=TOKEN)
        await until(lambda: "event=started" in engine.docker("logs", "loadfleet").stdout)
        engine.docker("healthcheck", "run", "loadfleet")

        looked = engine.shell(LOOK, folder=tmp_path)
        asked = engine.shell(ASK, folder=tmp_path, check=False)
        kept = engine.docker("exec", "loadfleet", "ls", "/var/lib/loadfleet").stdout
        stopped = engine.shell(STOP, folder=tmp_path)

    assert "\nhealthy\n" in looked
    assert "event=started" in looked
    assert "geneva-01" in asked
    assert "state" in kept
    assert "loadfleet" in stopped
    assert "loadfleet-state" in engine.docker("volume", "ls", "--quiet").stdout
    engine.docker("volume", "rm", "loadfleet-state")


def test_a_configuration_is_checked(image: Image, tmp_path: Path) -> None:
    """A mounted configuration with a mounted token must be found and judged."""
    source = {
        "provider": "realload",
        "name": "prod",
        "url": f"{PORTAL}/RemoteUserAPI",
        "auth_token_file": "/run/secrets/realload_token",
    }
    (tmp_path / ".realload-token").write_text(TOKEN)
    (tmp_path / "loadfleet.yml").write_text(json.dumps({"sources": [source]}))

    right = image.engine.shell(CHECK, folder=tmp_path)
    (tmp_path / "loadfleet.yml").write_text(json.dumps({"sources": [{**source, "nam": 1}]}))
    wrong = image.engine.shell(CHECK, folder=tmp_path, check=False)

    assert "sources[0].nam" not in right
    assert "sources[0].nam" in wrong


def test_it_tells_what_it_is(image: Image, tmp_path: Path) -> None:
    """Labels and SBOM must be had by the commands, and be of this version."""
    labels = json.loads(image.engine.shell(TELL, folder=tmp_path))
    sbom = json.loads((tmp_path / "loadfleet-exporter.cdx.json").read_text())

    assert __version__ == labels["org.opencontainers.image.version"]
    assert __version__ == sbom["metadata"]["component"]["version"]
