"""The daemon as a process: its start, its end, and its messages when it cannot start."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from asyncio.subprocess import PIPE, STDOUT
from typing import TYPE_CHECKING, Any

import pytest

from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from exporter.simulator.vendor import Command, Fault
from tests.support.processes import EXPORTER, answers, daemon, fetch, free_port, running
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


STILL = SimulatorOptions(still=True)


def fast(simulation: Simulation) -> dict[str, Any]:
    return {"defaults": {"interval": "1s", "timeout": "900ms"}} | simulation.configuration()


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_a_signal_ends_it_while_calls_hang(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        """A restart must not wait for a vendor, and a clean end is exit code 0."""
        async with Simulation(STILL) as simulation:
            configuration = simulation.configuration()
            simulation.realload.obey(Command(fault=Fault.HANG))
            async with daemon(tmp_path, configuration) as (_, process):
                await until(lambda: simulation.realload.calls)

                code = await process.stop(number, timeout_seconds=15)

        assert 0 == code
        assert "event=stopped" in process.errors

    async def test_a_scrape_neither_waits_for_a_poll_nor_calls_a_vendor(
        self, tmp_path: Path
    ) -> None:
        """While the portal hangs, a scrape is answered, and the portal sees no further call."""
        async with Simulation(STILL) as simulation:
            simulation.realload.obey(Command(fault=Fault.HANG))
            async with daemon(tmp_path, simulation.configuration()) as (url, _):
                await until(lambda: simulation.realload.calls)
                before = simulation.realload.calls.total()

                page = await fetch(f"{url}/metrics")

                assert before == simulation.realload.calls.total()
        assert 'loadfleet_source_up{provider="realload",source="simulated-portal"} 0.0' in page


class TestStart:
    async def test_a_port_in_use_is_one_clear_line(self, tmp_path: Path) -> None:
        """The operator must see which address and what to do, not a traceback."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            path = tmp_path / "loadfleet.yml"
            path.write_text(
                "sources: [{provider: realload, url: 'http://localhost:1/x', auth_token: t}]"
            )
            async with running(
                *EXPORTER,
                f"--config.file={path}",
                f"--web.listen-address=127.0.0.1:{port}",
                folder=tmp_path,
                name="daemon",
            ) as process:
                code = await process.process.wait()

        assert 1 == code
        (line,) = process.errors.splitlines()
        assert line.startswith(f"cannot start: cannot listen on 127.0.0.1:{port}: ")

    async def test_every_mistake_in_the_configuration_is_told_at_once(self, tmp_path: Path) -> None:
        """All mistakes in the configuration must be reported at once, with exit code 2."""
        path = tmp_path / "loadfleet.yml"
        path.write_text("sources: [{provider: realload, url: 'http://x/y', tsks: {}}]\nwebb: {}\n")
        async with running(
            *EXPORTER, "check-config", f"--config.file={path}", folder=tmp_path, name="check"
        ) as process:
            code = await process.process.wait()

        assert 2 == code
        places = sorted(line.split(": ")[1] for line in process.errors.splitlines())
        assert ["sources[0].auth_token", "sources[0].tsks", "webb"] == places

    async def test_one_source_can_come_from_the_environment_alone(self, tmp_path: Path) -> None:
        """`docker run -e …` must be enough."""
        async with Simulation(STILL) as simulation:
            port = free_port()
            async with running(
                *EXPORTER,
                folder=tmp_path,
                name="daemon",
                environ={
                    "LOADFLEET_REALLOAD_URL": simulation.realload_url,
                    "LOADFLEET_REALLOAD_AUTH_TOKEN": simulation.realload_token,
                    "LOADFLEET_WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}",
                },
            ) as process:
                url = f"http://127.0.0.1:{port}"
                await answers(url, process)

                async def up() -> bool:
                    page = await fetch(f"{url}/metrics")
                    return 'loadfleet_source_up{provider="realload",source="realload"} 1.0' in page

                await until(up)


class TestDemo:
    async def test_it_shows_the_fleet_at_once(self, tmp_path: Path) -> None:
        """The README promises numbers right after the installation, for all providers."""
        promtool = require("promtool")
        port = free_port()
        async with running(
            *EXPORTER,
            "demo",
            f"--web.listen-address=127.0.0.1:{port}",
            folder=tmp_path,
            name="demo",
        ) as process:
            url = f"http://127.0.0.1:{port}"
            await answers(f"{url}/-/ready", process)

            async def complete() -> bool:
                return "ready\n" == await fetch(f"{url}/-/ready")

            await until(complete, timeout_seconds=60)
            page = await fetch(f"{url}/metrics")
            targets = json.loads(await fetch(f"{url}/api/v1/targets"))["data"]["targets"]
            code = await process.stop()

        assert 0 == code
        assert {"realload", "blazemeter", "eggplant"} == {row["provider"] for row in targets}
        assert f"{url}/metrics" in process.output
        assert "" == await _complaints(promtool, page)


async def _complaints(promtool: str, page: str) -> str:
    """Return promtool's complaints about an exposition."""
    process = await asyncio.create_subprocess_exec(
        promtool, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate(page.encode())
    return output.decode()


class TestSecrets:
    async def test_no_secret_of_replies_or_configuration_comes_out(self, tmp_path: Path) -> None:
        """Tokens of agents, controllers and recorders and our own must stay inside."""
        async with Simulation(STILL) as simulation:
            fleet = simulation.fleet
            planted = {
                simulation.realload_token,
                "simulated-key-secret",
                "simulated-client-secret",
                *(agent.token for agent in fleet.agents.values()),
                *(controller.token for controller in fleet.controllers.values()),
                *(recorder.token for recorder in fleet.recorders.values()),
                *(recorder.password for recorder in fleet.recorders.values()),
                *(f"simulated-password-{number}" for number in range(10)),
            } - {""}
            configuration = fast(simulation)
            configuration["sources"][0]["tasks"] = {
                "jobs": "1s",
                "templates": "1s",
                "certificates": "1s",
            }
            async with daemon(tmp_path, configuration, "--log.level=debug") as (url, process):

                async def ready() -> bool:
                    return "ready\n" == await fetch(f"{url}/-/ready")

                await until(ready)
                pages = [
                    await fetch(url + path)
                    for path in (
                        "/",
                        "/metrics",
                        "/config",
                        "/api/v1/targets",
                        "/api/v1/sources",
                        "/nothing",
                    )
                ]
                simulation.realload.obey(Command(token="another"))

                async def refused() -> bool:
                    return (
                        'loadfleet_source_auth_failed{provider="realload",source="simulated-portal"}'
                        " 1.0" in await fetch(f"{url}/metrics")
                    )

                await until(refused)
                await process.stop()
        said = "\n".join([*pages, process.output, process.errors])

        assert 10 < len(planted)
        assert [] == [secret for secret in planted if secret in said]
        assert "credentials_refused" in said
