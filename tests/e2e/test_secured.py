"""A real Prometheus that scrapes, discovers and probes through the daemon's web server."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import yaml
from cryptography import x509

from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.simulator.vendor import Command, Fault
from tests.deploy.install import PAGE, commands
from tests.support.certificates import Authority, chain
from tests.support.processes import EXPORTER, Process, fetch, free_port, running
from tests.support.prometheus import prometheus
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


FLEET = SimulatorOptions(still=True, agents=6, controllers=2, recorders=1, delay_seconds=0.0)


@asynccontextmanager
async def daemon(
    folder: Path, simulation: Simulation, *flags: str
) -> AsyncIterator[tuple[str, Process]]:
    """Run the daemon on the simulated portal and yield its address."""
    (source, *_) = simulation.configuration()["sources"]
    defaults = {"interval": "1s", "timeout": "900ms", "stale_after": "4s"}
    path = folder / "loadfleet.yml"
    path.write_text(yaml.safe_dump({"defaults": defaults, "sources": [{**source, "name": "prod"}]}))
    address = f"127.0.0.1:{free_port()}"
    async with running(
        *EXPORTER,
        f"--config.file={path}",
        f"--web.listen-address={address}",
        *flags,
        folder=folder,
        name="daemon",
    ) as process:

        def started() -> bool:
            assert not process.ended, process.errors
            return "event=started" in process.errors

        await until(started)
        yield address, process
    assert "Traceback" not in process.errors


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(6)).decode()


@pytest.mark.timeout(180)
async def test_scrapes_with_tls_client_certificate_and_password(tmp_path: Path) -> None:
    """A real scraper gets through the gate, through rotations too, and not without its password."""
    require("prometheus")
    authority = Authority(tmp_path / "tls")
    authority.issue()
    authority.ca.issue_cert("prometheus.example").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "client.pem")
    )
    tls = {
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": "ca.pem",
        "client_allowed_sans": ["prometheus.example"],
    }
    web = authority.configure(tls=tls, basic_auth_users={"prometheus": hashed("right")})
    scrape = {
        "job_name": "loadfleet",
        # As long as a scrape may take, on a machine that is busy with other things.
        "scrape_interval": "4s",
        "scrape_timeout": "4s",
        "scheme": "https",
        "tls_config": {
            "ca_file": str(authority.path),
            "cert_file": str(tmp_path / "client.pem"),
            "key_file": str(tmp_path / "client.pem"),
        },
        "basic_auth": {"username": "prometheus", "password": "right"},
    }
    async with (
        Simulation(FLEET) as simulation,
        daemon(tmp_path, simulation, f"--web.config.file={web}") as (address, process),
        prometheus(
            tmp_path, {"scrape_configs": [{**scrape, "static_configs": [{"targets": [address]}]}]}
        ) as scraper,
    ):
        await scraper.until_values("count(loadfleet_agent_active)", [6])
        for _ in range(5):
            leaf = authority.ca.issue_cert("127.0.0.1")
            (authority.folder / "server.crt").write_bytes(chain(leaf))
            (authority.folder / "server.key").write_bytes(leaf.private_key_pem.bytes())
            # Prometheus may keep its connection; new connections get the new certificate.
            assert serial(chain(leaf)) == await served(address, authority, tmp_path)
        newest = x509.load_pem_x509_certificate((authority.folder / "server.crt").read_bytes())
        end = newest.not_valid_after_utc.timestamp()
        await scraper.until_values(
            "loadfleet_exporter_web_certificate_not_after_timestamp_seconds", [end]
        )
        scrapes = (await scraper.values("count_over_time(up[5m])"))[0]
        await scraper.until_values(f"count_over_time(up[5m]) > bool {scrapes}", [1])
        lowest = await scraper.values("min_over_time(up[5m])")
        authority.configure(tls=tls, basic_auth_users={"prometheus": hashed("another")})
        await scraper.until_values("up", [0])

    assert [1] == lowest
    assert "$2b$" not in process.errors
    assert "right" not in process.errors


async def served(address: str, authority: Authority, folder: Path) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    context = authority.client()
    context.load_cert_chain(folder / "client.pem")
    host, _, port = address.partition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
    seen = connection.getpeercert(binary_form=True) or b""
    writer.transport.abort()
    return serial(ssl.DER_cert_to_PEM_cert(seen).encode())


def serial(pem: bytes) -> int:
    return x509.load_pem_x509_certificate(pem).serial_number


@pytest.mark.timeout(180)
async def test_discovers_hosts_and_probes_targets(tmp_path: Path) -> None:
    """With the page's jobs Prometheus finds the hosts, keeps them in an outage, and probes them."""
    require("prometheus")
    async with (
        Simulation(FLEET) as simulation,
        daemon(tmp_path, simulation) as (address, _),
        prometheus(tmp_path, {"scrape_configs": discovering(address)}) as scraper,
    ):
        agents = simulation.fleet.agents
        expected = {f"{agent.host}:9100" for agent in agents.values()}

        async def discovered() -> bool:
            return expected == (await scraper.targets("load-agents")).keys()

        await until(discovered, timeout_seconds=40)
        await scraper.until_values('count(loadfleet_agent_active{job="loadfleet-probe"})', [6])
        await scraper.until_values('min(up{job="loadfleet-probe"})', [1])
        probe = f"http://{address}/probe?source=prod&kind=agent&id={next(iter(agents))}"
        debug = ""

        async def replied() -> bool:
            nonlocal debug
            debug = await fetch(f"{probe}&debug=true")
            return "reply:" in debug

        await until(replied)

        key, gone = next(iter(agents.items()))
        simulation.realload.obey(Command(delete={"agents": [key]}))
        expected.discard(f"{gone.host}:9100")
        await until(discovered, timeout_seconds=40)
        missing = await fetch(probe)

        simulation.realload.obey(Command(fault=Fault.UNAVAILABLE))

        async def unknown() -> bool:
            return "not known now" in await fetch(f"http://{address}/sd/agents")

        await until(unknown)
        await scraper.until_values('max(up{job="loadfleet-probe"})', [0])
        kept = (await scraper.targets("load-agents")).keys()

    assert expected == kept
    assert missing.startswith("404 ")
    planted = {*(agent.token for agent in agents.values()), simulation.realload_token} - {""}
    assert [] == [secret for secret in planted if secret in debug]


def discovering(address: str) -> list[dict[str, Any]]:
    """Return the jobs of the page on service discovery, for an exporter at an address."""
    page = PAGE.with_name("service-discovery.md").read_text().replace("localhost:10871", address)
    found = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    jobs = [job for block in found for job in yaml.safe_load(block)["scrape_configs"]]
    for job in jobs:
        job.pop("scrape_interval", None)
        job.pop("scrape_timeout", None)
        for discovery in job["http_sd_configs"]:
            discovery["refresh_interval"] = "1s"
    return jobs


async def test_users_whose_file_is_emptied_stay_and_the_metric_tells(tmp_path: Path) -> None:
    """When the users' file is emptied, the users must stay, and the metric show the refusal."""
    web = tmp_path / "web.yml"
    web.write_text(yaml.safe_dump({"basic_auth_users": {"alice": hashed("right")}}))
    login = {"Authorization": "Basic " + base64.b64encode(b"alice:right").decode()}
    async with (
        Simulation(FLEET) as simulation,
        daemon(tmp_path, simulation, f"--web.config.file={web}") as (address, process),
    ):
        web.write_bytes(b"")
        await until(lambda: "web_config_refused" in process.errors)
        stranger = await fetch(f"http://{address}/config")
        metrics = await fetch(f"http://{address}/metrics", headers=login)

    assert stranger.startswith("401 ")
    assert "\nloadfleet_exporter_web_config_last_reload_successful 0" in metrics
    assert 1 == process.errors.count("web_config_refused")
    assert "web.yml: says nothing, and may have lost its content" in process.errors


async def test_a_wrong_web_configuration_is_told_before_anything_starts(tmp_path: Path) -> None:
    """`check-config` and the daemon say the same, with the exit code of a wrong configuration."""
    web = tmp_path / "web.yml"
    web.write_text("tls_server_config: {cert_file: no.crt}\nbasic_auth_users: {alice: plain}\n")
    path = tmp_path / "loadfleet.yml"
    path.write_text("sources: [{provider: realload, url: 'http://localhost:1/x', auth_token: t}]")
    ends = []
    for command in (["check-config"], []):
        async with running(
            *EXPORTER,
            *command,
            f"--config.file={path}",
            f"--web.config.file={web}",
            folder=tmp_path,
            name="exporter",
        ) as process:
            ends.append((await process.process.wait(), process.errors.splitlines()))

    assert ends[0] == ends[1]
    code, lines = ends[0]
    assert 2 == code
    assert [
        f"configuration: {web}: tls_server_config.key_file",
        f"configuration: {web}: basic_auth_users.alice",
    ] == [line.rsplit(": ", 1)[0] for line in lines]


async def test_the_page_protects_the_exporter(tmp_path: Path) -> None:
    """The steps of the page lead from nothing to metrics that need TLS and the password."""
    require("openssl")
    require("curl")
    page = PAGE.with_name("tls.md")
    certificate, password, by_python = commands("Make a certificate and a password", page)
    check, start, ask = commands("Protect the exporter", page)
    ask_status, trust = commands("Commands that ask the exporter", page)
    web = page.read_text().split("```yaml\n")[1].partition("```")[0]
    port = str(free_port())
    (tmp_path / "loadfleet.yml").write_text(
        "sources: [{provider: realload, url: 'http://localhost:1/x', auth_token: t}]"
    )
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LOADFLEET_WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}",
    }

    def shell(script: str, *, given: str = "", code: int = 0) -> str:
        ended = subprocess.run(
            ["bash", "-euc", script],
            cwd=tmp_path,
            env={**os.environ, **environ},
            input=given,
            capture_output=True,
            text=True,
            check=False,
            # Without a terminal, the password is read from the input.
            start_new_session=True,
        )
        assert code == ended.returncode, ended.stderr
        return ended.stdout if code == 0 else ended.stderr

    assert "htpasswd -nBC 10 prometheus\n" == password
    shell(certificate)
    digest = shell(by_python, given="right\n").strip()
    (tmp_path / "web.yml").write_text(re.sub(r"\$2b\S+", digest, web))
    checked = shell(check)
    script = f"cd {tmp_path} && exec {start}"
    async with running("bash", "-c", script, folder=tmp_path, name="it", environ=environ) as it:
        await until(lambda: "event=started" in it.errors)
        right, wrong, status = (
            each.replace("10871", port).replace("prometheus ", f"prometheus:{word} ")
            for each, word in ((ask, "right"), (ask, "wrong"), (ask_status, "right"))
        )
        metrics = await asyncio.to_thread(shell, right)
        refused = await asyncio.to_thread(shell, wrong)
        told = await asyncio.to_thread(shell, status)
        untold = await asyncio.to_thread(shell, trust.replace("10871", port), code=1)

    assert "configuration: fine" in checked
    assert "loadfleet_exporter_build_info" in metrics
    assert refused.startswith("401 ")
    assert '"headline"' in told
    assert "it requires a password" in untold


#: Starts a program as systemd does: with its socket as descriptor 3.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


async def test_takes_over_the_sockets_of_systemd(tmp_path: Path) -> None:
    """With `--web.systemd-socket` the daemon serves on what systemd opened, and only there."""
    path = tmp_path / "loadfleet.yml"
    path.write_text("sources: [{provider: realload, url: 'http://localhost:1/x', auth_token: t}]")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor, port = listening.fileno(), listening.getsockname()[1]
        async with running(
            *(sys.executable, "-c", ACTIVATE, str(descriptor), *EXPORTER),
            f"--config.file={path}",
            "--web.systemd-socket",
            folder=tmp_path,
            name="daemon",
            descriptors=[descriptor],
        ) as process:
            healthy = await fetch(f"http://127.0.0.1:{port}/-/healthy")
            code = await process.stop()

    assert ("healthy\n", 0) == (healthy, code)
    assert f"listen=127.0.0.1:{port}" in process.errors
