"""Reloading a running daemon, by each of its three triggers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING, Any

import yaml

from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import Simulation
from tests.support.processes import EXPORTER, daemon, fetch, running
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


STILL = SimulatorOptions(still=True, agents=5)


def portal(simulation: Simulation, name: str = "prod") -> dict[str, Any]:
    source: dict[str, Any] = simulation.configuration()["sources"][0]
    return source | {"name": name}


async def shows(url: str, text: str) -> bool:
    return text in await fetch(f"{url}/metrics")


async def test_a_signal_reloads_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    """The usual way: edit the file, send SIGHUP, look at the gauge."""
    async with (
        Simulation(STILL) as simulation,
        daemon(
            tmp_path,
            {"sources": [portal(simulation)]},
            "--config.auto-reload-interval=0",
        ) as (url, process),
    ):
        file = tmp_path / "loadfleet.yml"
        both = [portal(simulation), portal(simulation, "second")]
        file.write_text(yaml.safe_dump({"sources": both, "log": {"format": "json"}}))
        process.process.send_signal(signal.SIGHUP)
        await until(lambda: shows(url, 'loadfleet_source_up{provider="realload",source="second"}'))

        file.write_text("sources: [")
        process.process.send_signal(signal.SIGHUP)
        await until(lambda: shows(url, "config_last_reload_successful 0.0"))

        assert await shows(url, 'source="second"')
        told = [json.loads(line) for line in process.errors.splitlines() if line[0] == "{"]
        assert [("second", "", "log")] == [
            (line["added"], line["changed"], line["sections"])
            for line in told
            if line["event"] == "reloaded"
        ]
        assert "reload_failed" in [line["event"] for line in told]


async def test_a_swapped_link_is_noticed(tmp_path: Path) -> None:
    """A swapped link must be noticed, as Kubernetes replaces a ConfigMap."""
    mount = tmp_path / "mount"
    mount.mkdir()
    async with Simulation(STILL) as simulation:
        for version, name in (("v1", "prod"), ("v2", "renamed")):
            folder = mount / version
            folder.mkdir()
            (folder / "loadfleet.yml").write_text(
                yaml.safe_dump({"sources": [portal(simulation, name)]})
            )
        (mount / "data").symlink_to("v1")
        path = mount / "data" / "loadfleet.yml"
        async with daemon(tmp_path, path, "--config.auto-reload-interval=200ms") as (url, _):
            await until(lambda: shows(url, 'source="prod"'))

            (mount / "next").symlink_to("v2")
            (mount / "next").rename(mount / "data")

            await until(lambda: shows(url, 'source="renamed"'))
            assert not await shows(url, 'source="prod"')


async def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """A pipe must be read once, and its content stay in use."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with Simulation(STILL) as simulation:
        text = yaml.safe_dump({"sources": [portal(simulation)]})
        writing = asyncio.create_task(asyncio.to_thread(pipe.write_text, text))
        async with daemon(tmp_path, pipe, "--config.auto-reload-interval=50ms") as (url, process):
            await writing
            await until(
                lambda: shows(url, 'loadfleet_source_up{provider="realload",source="prod"}')
            )

            process.send(signal.SIGHUP)
            await until(lambda: shows(url, "config_last_reload_successful 0.0"))

            assert await shows(url, 'source="prod"')
            assert f"{pipe}: is a pipe and cannot be read again" in process.errors
            assert 0 == await process.stop()


async def test_a_pipe_in_the_place_of_the_file_changes_nothing(tmp_path: Path) -> None:
    """A pipe in place of the file must change nothing, and not delay a reload or the end."""
    async with (
        Simulation(STILL) as simulation,
        daemon(
            tmp_path,
            {"sources": [portal(simulation)]},
            "--config.auto-reload-interval=50ms",
        ) as (url, process),
    ):
        file = tmp_path / "loadfleet.yml"
        content = file.read_text()

        file.unlink()
        os.mkfifo(file)
        await until(lambda: shows(url, "config_last_reload_successful 0.0"))
        file.unlink()
        file.write_text(content)
        await until(lambda: shows(url, "config_last_reload_successful 1.0"))
        file.unlink()
        os.mkfifo(file)
        await until(lambda: shows(url, "config_last_reload_successful 0.0"))

        assert await shows(url, 'source="prod"')
        assert 0 == await process.stop()


async def test_a_hundred_reloads_leave_no_gap(tmp_path: Path) -> None:
    """Scrapes must find every series of an unchanged source at any moment."""
    async with (
        Simulation(STILL) as simulation,
        daemon(
            tmp_path,
            {"sources": [portal(simulation), portal(simulation, "edited")]},
            "--web.enable-lifecycle",
            "--config.auto-reload-interval=0",
        ) as (url, process),
    ):
        file = tmp_path / "loadfleet.yml"

        async def complete() -> bool:
            page = await fetch(f"{url}/metrics?name[]=loadfleet_agent_up")
            return page.count('source="prod"') == 4 and page.count('source="edited"') == 4

        await until(complete)
        over = asyncio.Event()
        gaps = []

        async def scrape() -> None:
            while not over.is_set():
                gaps.append(not await complete())

        scraping = asyncio.create_task(scrape())
        for number in range(100):
            edited = portal(simulation, "edited") | {"timeout": f"{number % 9 + 1}s"}
            file.write_text(yaml.safe_dump({"sources": [portal(simulation), edited]}))
            assert "reloaded\n" == await fetch(f"{url}/-/reload", data={})
        over.set()
        await scraping

        assert 10 < len(gaps)
        assert not any(gaps)
        assert 0 == await process.stop()
    told = [line for line in process.errors.splitlines() if "event=reloaded" in line]
    assert 100 == sum(int(line.partition("repeated=")[2] or 1) for line in told)
    assert len(told) < 10


async def test_what_a_reload_would_do_can_be_seen_before(tmp_path: Path) -> None:
    """`check-config --diff` must report the sources that a reload would start and stop."""
    async with (
        Simulation(STILL) as simulation,
        daemon(tmp_path, {"sources": [portal(simulation), portal(simulation, "old")]}) as (url, _),
    ):
        edited = portal(simulation) | {"timeout": "3s"}
        (tmp_path / "new.yml").write_text(
            yaml.safe_dump({"sources": [edited, portal(simulation, "new")]})
        )
        async with running(
            *EXPORTER,
            "check-config",
            f"--config.file={tmp_path / 'new.yml'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            f"--diff={url}",
            folder=tmp_path,
            name="diff",
        ) as process:
            code = await process.process.wait()

        assert 0 == code
        assert [
            "start    new",
            "restart  prod: timeout",
            "stop     old",
            "secrets are not compared",
        ] == process.output.splitlines()
