"""An installed plug-in, in all commands and pages."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.markup import parse
from tests.support.plugins import CLIENT, RECORD, install
from tests.support.processes import EXPORTER, daemon, fetch, running
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


HEAT = "loadfleet_acme_agent_heat_celsius"
LABELS = 'agent="oven",agent_id="a1",provider="acme",source="acme"'
SAMPLE = f"{HEAT}{{{LABELS}}} 36.5"
SOURCE = {"provider": "acme", "url": "http://127.0.0.1:1"}
OTHER = {"provider": "locust", "url": "http://127.0.0.1:1"}

#: The error of a plug-in that cannot be loaded.
BROKEN = (
    "the provider 'acme' of acme-load 1.2 is left out: acme:ACME cannot be loaded (ImportError);"
    " install a version that fits this exporter, or remove it"
)


async def ran(folder: Path, plugin: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command beside the plug-in; return its exit code, output and errors."""
    async with running(
        *EXPORTER, *arguments, folder=folder, name="ran", environ={"PYTHONPATH": str(plugin)}
    ) as process:
        code = await asyncio.wait_for(process.process.wait(), 30)
        return code, process.output, process.errors


def configured(folder: Path, *sources: dict[str, Any]) -> Path:
    """Write a configuration."""
    path = folder / "loadfleet.yml"
    state = {"path": str(folder / "state")}
    path.write_text(yaml.safe_dump({"sources": list(sources), "state": state}))
    return path


async def test_is_like_the_exporters_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in's family must be on every page and in every command, as the catalogue's are."""
    plugin = install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    path = configured(tmp_path, SOURCE)
    flag = f"--config.file={path}"

    listed = await ran(tmp_path, plugin, "providers")
    checked = await ran(tmp_path, plugin, "check-config", flag)
    metrics = await ran(tmp_path, plugin, "metrics")
    explained = await ran(tmp_path, plugin, "explain", flag, "acme", "agent", "a1")
    async with daemon(tmp_path, path) as (url, process):

        async def shown() -> bool:
            return SAMPLE in await fetch(f"{url}/metrics")

        await until(shown)
        page = await fetch(f"{url}/metrics")
        target_id = "source=acme&kind=agent&id=a1"
        kept = await fetch(f"{url}/probe?{target_id}")
        asked = await fetch(f"{url}/probe?{target_id}&debug=true")
        target = parse(await fetch(f"{url}/target?{target_id}"))
        assert 0 == await process.stop()

    assert (0, True) == (listed[0], "acme-load 1.2" in listed[1])
    assert 0 == checked[0], checked
    assert (0, True) == (metrics[0], HEAT in metrics[1])
    assert (0, True) == (explained[0], SAMPLE in explained[1])
    assert f"# TYPE {HEAT} gauge" in page
    assert f"loadfleet_agent_up{{{LABELS}}} 1" in page
    assert SAMPLE in kept
    assert SAMPLE in asked
    assert HEAT in target.text
    assert "level=error" not in process.errors


async def test_a_broken_one_is_named_everywhere_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken plug-in must be named in every command, and stop only its own sources."""
    plugin = install(tmp_path / "site", record="raise ImportError('canary')\n" + RECORD)
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    path = configured(tmp_path, OTHER)
    flag = f"--config.file={path}"

    listed = await ran(tmp_path, plugin, "providers")
    checked = await ran(tmp_path, plugin, "check-config", flag)
    async with daemon(tmp_path, path) as (url, process):
        assert "loadfleet_source_up" in await fetch(f"{url}/metrics")
        assert 0 == await process.stop()
    configured(tmp_path, OTHER, SOURCE)
    wrong = await ran(tmp_path, plugin, "check-config", flag)

    assert (1, f"providers: {BROKEN}\n") == (listed[0], listed[2])
    assert (0, True) == (checked[0], BROKEN in "".join(checked[1:])), checked
    assert BROKEN in process.errors
    assert (2, True) == (wrong[0], f"sources[1].provider: {BROKEN}" in "".join(wrong[1:])), wrong
    assert "canary" not in "".join((*listed[1:], *checked[1:], *wrong[1:], process.errors))


@pytest.mark.parametrize(
    ("old", "new"), [("heat=36.5)", "heat='canary')"), ("return Poll(", "return 'canary'; Poll(")]
)
async def test_one_whose_polls_are_wrong_is_a_source_that_is_down(
    tmp_path: Path, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages of all others are there, and the log says what it was without quoting it."""
    plugin = install(tmp_path / "site", client=CLIENT.replace(old, new))
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    path = configured(tmp_path, SOURCE, OTHER)

    async with daemon(tmp_path, path) as (url, process):

        async def told() -> bool:
            page = await fetch(f"{url}/metrics")
            return 2 == len(re.findall(r'loadfleet_source_task_up{.*task="agents"', page))

        await until(told)
        page = await fetch(f"{url}/metrics")
        assert 0 == await process.stop()

    assert 'loadfleet_source_up{provider="acme",source="acme"} 0' in page
    assert 'loadfleet_source_up{provider="locust",source="locust"} 0' in page
    assert "loadfleet_acme_" not in page
    assert "canary" not in process.errors


@pytest.mark.parametrize("client", ["raise ValueError('canary')", CLIENT.replace("connect", "x")])
async def test_a_connector_that_cannot_be_used_is_a_mistake(
    tmp_path: Path, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connector that cannot be used must end the start with a sentence."""
    plugin = install(tmp_path / "site", client=client)
    flag = f"--config.file={configured(tmp_path, SOURCE)}"

    code, _, errors = await ran(tmp_path, plugin, flag, "--web.listen-address=127.0.0.1:0")

    assert 0 != code
    assert "acme: acme.client:connect cannot be used (" in errors
    assert "Traceback" not in errors
    assert "canary" not in errors
