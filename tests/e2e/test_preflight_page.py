"""The page on preflights is followed from its beginning to its end, as a reader would."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exporter.simulator.options import SimulatorOptions
from tests.deploy.tools import tool
from tests.support.commands import portal_with
from tests.support.junit import parsed
from tests.support.processes import free_port
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.support.commands import Portal


PAGE = (Path(__file__).parents[2] / "deploy" / "docs" / "how-to" / "preflight.md").read_text(
    encoding="utf-8"
)

_BLOCK = re.compile(r"(?:<!-- ([\w ]+) -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: The page's blocks: the text above, the language and the content.
BLOCKS = [(note, language, content) for note, language, content in _BLOCK.findall(PAGE)]

#: The search path, with this environment's command first.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def blocks(language: str, note: str = "") -> list[str]:
    return [each for about, spoken, each in BLOCKS if (about, spoken) == (note, language)]


def walk() -> list[tuple[str, int, str]]:
    """Return the steps of the page's walk, with the exit codes and the outputs."""
    steps: list[tuple[str, int, str]] = []
    script = ""
    for note, _, content in BLOCKS:
        if note == "walk":
            script += content
        elif note.startswith("says "):
            steps.append((script, int(note.removeprefix("says ")), content))
            script = ""
    return steps


def on_other_ports(text: str) -> str:
    """Replace the page's ports by free ones."""
    return text.replace("10871", str(_PORTS[0])).replace("8990", str(_PORTS[1]))


_PORTS = (free_port(), free_port())

#: Three agents, of which the third is outdated.
SMALL = SimulatorOptions(still=True, agents=3, controllers=0, clusters=0, recorders=0, suites=0)


async def run(
    script: str, folder: Path, shell: tuple[str, ...] = ("bash", "-e"), **environ: str
) -> tuple[int, str]:
    """Run a script; return its exit code and the terminal's output."""
    with (folder / "seen").open("w+", encoding="utf-8") as seen:
        process = await asyncio.create_subprocess_exec(
            *shell,
            "-c",
            script,
            cwd=folder,
            stdout=seen,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": PATH, **environ},
        )
        code = await asyncio.wait_for(process.wait(), 100)
        seen.seek(0)
        return code, seen.read()


async def test_the_walk(tmp_path: Path) -> None:
    """Each step of the page ends and shows what the page says, the red one and the green one."""
    require("curl")
    steps = walk()
    # One session, so that programs started at the beginning run to the end.
    written = []
    for number, (script, _, _) in enumerate(steps):
        seen = tmp_path / str(number)
        written += [f"exec > {seen}.out 2>&1", script, f"echo $? > {seen}.code"]
    written += [*blocks("sh", "last step"), "wait"]
    session = on_other_ports("\n".join(written))

    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", session),
        cwd=tmp_path,
        env={**os.environ, "PATH": PATH},
        start_new_session=True,
    )
    try:
        # The session ends when all its programs have ended.
        await asyncio.wait_for(process.wait(), 110)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)

    numbers = range(len(steps))
    codes = [int((tmp_path / f"{number}.code").read_text()) for number in numbers]
    first, *others = [(tmp_path / f"{number}.out").read_text() for number in numbers]
    assert [code for _, code, _ in steps] == codes == [1, 22, 0, 0]
    assert (tmp_path / "loadfleet-preflight" / "data" / "state.db").exists()
    # The output begins with the exporter's readiness.
    assert [content for _, _, content in steps] == [first.removeprefix("ready\n"), *others]


# -- In a pipeline ------------------------------------------------------------------------------


def github() -> Any:
    (found,) = [each for each in map(yaml.safe_load, blocks("yaml")) if "jobs" in each]
    return found


def gitlab() -> Any:
    (found,) = [each for each in map(yaml.safe_load, blocks("yaml")) if "stages" in each]
    return found


def jenkins() -> list[str]:
    """Return the commands of the stages."""
    (found,) = blocks("groovy")
    return re.findall(r"^ *sh '(.*)'$", found, re.MULTILINE)


@pytest.mark.parametrize(
    ("schema", "key"), [("vendor.github-workflows", "jobs"), ("vendor.gitlab-ci", "stages")]
)
def test_a_snippet_keeps_to_its_schema(schema: str, key: str, tmp_path: Path) -> None:
    """The schemas that editors use know each of its keys."""
    (snippet,) = [each for each in blocks("yaml") if key in yaml.safe_load(each)]
    path = tmp_path / "snippet.yml"
    path.write_text(snippet)

    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", schema, path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout


def test_the_load_test_waits_for_the_preflight() -> None:
    """A step beside the test would hold nothing back."""
    jobs, stages = github()["jobs"], gitlab()["stages"]
    (pipeline,) = blocks("groovy")

    assert "preflight" == jobs["load-test"]["needs"]
    assert (["preflight", "test"], "preflight", "test") == (
        stages,
        gitlab()["preflight"]["stage"],
        gitlab()["load-test"]["stage"],
    )
    assert ["Preflight", "Load test"] == re.findall(r"stage\('(.*)'\)", pipeline)


def test_jenkins_pipeline_is_balanced() -> None:
    """No brace is left open; the language itself is nowhere at hand."""
    (pipeline,) = blocks("groovy")
    depth = 0
    for character in re.sub(r"'[^'\n]*'", "", pipeline):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0

    assert 0 == depth


@asynccontextmanager
async def watched(folder: Path, min_up: int) -> AsyncIterator[str]:
    """Yield the URL of an exporter whose preflight needs so many of two agents."""
    async with portal_with(SMALL, folder) as portal:
        configured(portal, min_up)
        async with portal.watched() as (url, _):
            yield url


def configured(portal: Portal, min_up: int) -> None:
    data = yaml.safe_load(portal.configuration.read_text())
    agents = {"min_up": min_up, "max_down": 1}
    data["preflights"] = [{"name": "nightly-checkout", "agents": agents}]
    portal.configuration.write_text(yaml.safe_dump(data))


def sooner(command: str) -> str:
    """Shorten the wait of a script."""
    changed = command.replace("--wait=10m", "--wait=1s")
    assert changed != command
    return changed


@pytest.mark.parametrize(("min_up", "code"), [(2, 0), (3, 1)], ids=["green", "red"])
async def test_a_pipeline_is_red_and_green(min_up: int, code: int, tmp_path: Path) -> None:
    """Each system's documented step must fail and pass with the fleet, and write its report."""
    (step,) = github()["jobs"]["preflight"]["steps"]
    (script,) = gitlab()["preflight"]["script"]
    stage = jenkins()[0]
    summary = tmp_path / "summary.md"

    async with watched(tmp_path, min_up) as url:
        known: Mapping[str, str] = {"LOADFLEET": url, "GITHUB_STEP_SUMMARY": str(summary)}
        on_github = await run(sooner(step["run"]), tmp_path, ("bash", "-e"), **known)
        on_gitlab = await run(sooner(script), tmp_path, ("bash", "-eo", "pipefail"), LOADFLEET=url)
        report = parsed(
            (tmp_path / gitlab()["preflight"]["artifacts"]["reports"]["junit"]).read_text()
        )
        (tmp_path / "preflight.xml").unlink()
        on_jenkins = await run(sooner(stage), tmp_path, ("sh", "-xe"), LOADFLEET=url)
        again = parsed((tmp_path / "preflight.xml").read_text())
        (call,) = blocks("sh", "curl")
        by_curl = await run(call, tmp_path, LOADFLEET=url)

    assert [code] * 3 == [on_github[0], on_gitlab[0], on_jenkins[0]]
    assert (22 if code else 0) == by_curl[0]
    assert ("::error " if code else "::notice ") in on_github[1]
    assert summary.read_text().startswith("### nightly-checkout: ")
    assert [code, code] == [len(list(each.iter("failure"))) for each in (report, again)]


async def test_a_pipeline_without_an_exporter_is_red(tmp_path: Path) -> None:
    """Without an exporter, the pipeline must fail, and its report say so."""
    (script,) = gitlab()["preflight"]["script"]

    code, _ = await run(sooner(script), tmp_path, LOADFLEET=f"http://127.0.0.1:{free_port()}")

    assert 3 == code
    assert 1 == len(list(parsed((tmp_path / "preflight.xml").read_text()).iter("error")))
