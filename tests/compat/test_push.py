"""The page on pushing: its commands, with a receiver that is away and an exporter that dies."""

from __future__ import annotations

import base64
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tests.compat.fleet import fleet, front, shipped
from tests.deploy.install import commands
from tests.deploy.locks import ROOT
from tests.support.certificates import Authority
from tests.support.processes import fetch, free_port, running
from tests.support.prometheus import Prometheus
from tests.support.versions import note
from tests.support.victoria import AT_ONCE, SOON
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.compat.fleet import Fleet, Front
    from tests.support.processes import Process


PAGE = ROOT / "deploy" / "docs" / "how-to" / "push.md"

PASSWORD = "invented"

BASIC = {"Authorization": f"Basic {base64.b64encode(f'loadfleet:{PASSWORD}'.encode()).decode()}"}

GONE = 'ALERTS{alertname="LoadFleetExporterGone",alertstate="firing"'

#: The number of scrapes while the receiver is away.
AWAY = 8


class Site:
    """A network of its own with an exporter, and a receiver outside.

    Attributes:
        receiver: The receiver's server, for queries.
    """

    def __init__(self, folder: Path, fleet: Fleet, between: Front) -> None:
        self._folder = folder
        port = free_port()
        self.receiver = Prometheus(f"https://localhost:{port}", BASIC)
        self._elsewhere = {
            "/etc/": f"{folder}/etc/",
            "/var/lib/": f"{folder}/var/",
            "sudo ": "",
            "-g prometheus ": "",
            "https://metrics.example.com": self.receiver.url,
            "=:443": f"=localhost:{port}",
            "localhost:10871": between.address,
            "localhost:9093": fleet.alertmanager.removeprefix("http://"),
            "_interval: 30s": "_interval: 1s",
        } | {f"localhost:{known}": f"localhost:{free_port()}" for known in (9090, 8429, 8880)}

    def adapted(self, text: str) -> str:
        """Return a text of the page or of a file, with this machine's addresses and paths."""
        for old, new in self._elsewhere.items():
            text = text.replace(old, new)
        return text

    def prepare(self, block: str) -> None:
        """Run commands that install and check files, and edit the files as the page says."""
        for command in block.splitlines():
            done = subprocess.run(
                ["bash", "-euc", self.adapted(command)],
                cwd=ROOT,
                input=PASSWORD,
                capture_output=True,
                text=True,
                check=False,
            )
            assert 0 == done.returncode, done.stdout + done.stderr
            changed = ("agent.yml", "receiver.yml", "vmagent.yml")
            for path in (self._folder / "etc").rglob("*.yml"):
                if path.name in changed and str(self._folder) not in path.read_text():
                    path.write_text(self.adapted(path.read_text()))

    @asynccontextmanager
    async def run(self, block: str, *flags: str, name: str = "") -> AsyncIterator[Process]:
        """Run a command with more flags, under a name, while the context lasts."""
        program, *arguments = shlex.split(self.adapted(block).replace("\\\n", ""))
        async with running(
            program, *arguments, *flags, folder=self._folder, name=name or program
        ) as process:
            yield process

    async def until_answered(self, process: Process) -> None:
        """Wait until the receiver lets the agent in."""

        async def answered() -> bool:
            assert not process.ended, process.errors
            try:
                told = await fetch(f"{self.receiver.url}/-/ready", headers=BASIC)
            except OSError:
                told = ""
            return "ready" in told.lower()

        await until(answered)


@pytest.mark.timeout(180)
@pytest.mark.generations("installed", "newest")
async def test_prometheus_pushes_to_prometheus(
    generation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sample may be lost while the receiver is away, and the receiver must page for a death."""
    version = note(generation, "prometheus")
    trust(tmp_path / "etc" / "prometheus", monkeypatch)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "etc" / "prometheus" / "web.yml").write_text(
        "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n"
        f'basic_auth_users: {{loadfleet: "{hashed}"}}\n'
    )
    prepare, older, newer = commands("With Prometheus in agent mode", PAGE)
    files, start = commands("Prometheus as the receiver", PAGE)
    async with fleet(tmp_path) as it, front(it.target) as between:
        site = Site(tmp_path, it, between)
        site.prepare(prepare)
        async with site.run(older if version < (3, 0) else newer) as agent:
            await until(lambda: agent.ended or between.scrapes >= AWAY)
            assert not agent.ended, agent.errors
            shipped(tmp_path, it)
            site.prepare(files)
            shutil.copy(tmp_path / "alerts.yml", tmp_path / "etc" / "prometheus")
            async with site.run(start, name="receiver") as receiver:
                await site.until_answered(receiver)
                await judged(site, it, between, agent)


@pytest.mark.timeout(180)
@pytest.mark.generations("newest")
async def test_vmagent_pushes_to_victoriametrics(
    generation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sample may be lost while the receiver is away, and the receiver must page for a death."""
    note(generation, "victoria-metrics")
    trust(tmp_path / "etc" / "victoria-metrics", monkeypatch)
    prepare, start_agent = commands("With vmagent", PAGE)
    files, start, judge = commands("VictoriaMetrics as the receiver", PAGE)
    async with fleet(tmp_path) as it, front(it.target) as between:
        site = Site(tmp_path, it, between)
        site.prepare(prepare)
        async with site.run(start_agent) as agent:
            await until(lambda: agent.ended or between.scrapes >= AWAY)
            assert not agent.ended, agent.errors
            shipped(tmp_path, it, scale=0.05)
            site.prepare(files)
            rules = tmp_path / "etc" / "victoria-metrics" / "alerts.yml"
            shutil.copy(tmp_path / "victoria.yml", rules)
            async with site.run(start, *AT_ONCE) as receiver:
                await site.until_answered(receiver)
                async with site.run(judge, *SOON):
                    await judged(site, it, between, agent)


def trust(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a certificate for the receiver into a folder, and make programs trust it."""
    folder.mkdir(parents=True)
    authority = Authority(folder)
    authority.issue("localhost", name="tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))


async def judged(site: Site, it: Fleet, between: Front, agent: Process) -> None:
    """Check that all samples arrive, also earlier ones; then kill the exporter and the agent."""
    began, scrapes = time.time(), between.scrapes
    count = 'count_over_time(up{job="loadfleet",site="lab"}[1h])'

    async def whole() -> bool:
        found = await site.receiver.query(count, time=began)
        # The newest scrape may be under way.
        return bool(found) and scrapes <= float(found[0]["value"][1]) <= scrapes + 1

    assert scrapes >= AWAY
    await until(whole)
    await it.until_known(site.receiver, "loadfleet")
    await site.receiver.until_values(GONE + "}", [])

    await it.process.stop(signal.SIGKILL)
    await site.receiver.until_values(f'{GONE},instance="{between.address}",site="lab"}}', [1])

    await agent.stop(signal.SIGKILL)
    await site.receiver.until_values(f'{GONE},instance=""}}', [1])
