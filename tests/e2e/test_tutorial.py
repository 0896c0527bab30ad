"""The tutorial is followed from its beginning to its end, as a reader would."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tarfile
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from exporter.simulator.server import serve
from tests.deploy.install import commands
from tests.support.processes import free_port
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


PAGE = (Path(__file__).parents[2] / "deploy" / "docs" / "tutorial.md").read_text(encoding="utf-8")

_BLOCK = re.compile(r"(?:<!-- ([\w ,]+) -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: The blocks of the page with their languages, and with what stands above them.
BLOCKS = [(note, language, content) for note, language, content in _BLOCK.findall(PAGE)]

#: Where the page's programs listen, and where they do in the test.
PORTS = {port: str(free_port()) for port in ("8990", "9090", "9093", "10871")}

#: Times of the page, and those of the test.
SOONER = {
    "interval: 5s ": "interval: 1s ",
    "timeout: 4s": "timeout: 900ms",
    "for_scale: 0.1": "for_scale: 0.03",
    "group_wait: 10s": "group_wait: 1s",
    "group_interval: 1m": "group_interval: 1s",
    "scrape_interval: 5s": "scrape_interval: 1s",
    "evaluation_interval: 5s": "evaluation_interval: 1s",
    "--hold=30s": "--hold=3s",
    "fires for 30s": "fires for 3s",
}

PORTAL = "https://portal.realload.com"
NTFY = "https://ntfy.sh"

#: What is pasted where the page asks for a token.
TOKEN = "simulated-realload-token\n"

_END = "the end of a block:"


class Step(NamedTuple):
    """A block of the page, with what stands above it."""

    note: str
    content: str


def steps() -> list[Step]:
    return [Step(note, content) for note, _, content in BLOCKS if note]


class Telephone:
    """Takes the place of ntfy.sh: what it is sent, in the words of ntfy's template."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.texts: list[str] = []
        self.url = ""

    async def take(self, request: Request) -> Response:
        body = (await request.body()).decode()
        if request.query_params.get("template") == "alertmanager":
            self.told.put_nowait(shown(json.loads(body)))
        else:
            self.texts.append(body)
        return Response("{}")


def shown(message: dict[str, Any]) -> str:
    """Return the lines of a notification that the page shows."""
    firing = message["status"] == "firing"
    (alert,) = message["alerts"]
    labels, annotations = alert["labels"], alert["annotations"]
    return (
        f"{'🚨 Alert' if firing else '✅ Resolved'}: {labels['alertname']}\n"
        f"Status: {message['status'].title()}\n"
        f"Severity: {labels['severity']}\n"
        f"Summary: {annotations['summary']}\n"
        f"Description: {annotations['description']}\n"
    )


class Session:
    """A shell in which block after block is run, with the folder and the jobs of those before."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, url: str) -> None:
        self._process = process
        self._folder = folder
        self._url = url

    def here(self, text: str) -> str:
        """Return a text of the page with the addresses and the times of the test."""
        for page, ours in {**SOONER, **PORTS, PORTAL: f"http://localhost:{PORTS['8990']}"}.items():
            text = text.replace(page, ours)
        return text.replace(NTFY, self._url)

    async def run(self, block: str, *, given: str = "") -> tuple[int, str]:
        """Run a block; return its exit code and what a terminal would show."""
        script, pasted = self._folder / "block.sh", self._folder / "pasted"
        script.write_text(self.here(block))
        pasted.write_text(given)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f'. {script} <{pasted} 2>&1\necho "{_END} $?"\n'.encode())
        seen = ""
        while _END not in seen:
            line = await asyncio.wait_for(self._process.stdout.readline(), 60)
            assert line, seen
            seen += line.decode()
        text, _, code = seen.rpartition(f"{_END} ")
        return int(code), text

    async def demo(self, command: str, expected: str) -> tuple[int, str]:
        """Run the demo until it shows what is expected; it names the address that was given."""
        address = f"127.0.0.1:{PORTS['10871']}"
        environ = f"LOADFLEET_WEB_LISTEN_ADDRESS={address}"
        await self.run(f"{environ} {command.strip()} >demo.out 2>demo.log &")
        code, seen = await self.repeat("cat demo.out", expected.replace("localhost:10871", address))
        await self.run("kill $!; wait $!")
        return code, seen.replace(address, f"localhost:{PORTS['10871']}")

    async def repeat(self, block: str, expected: str) -> tuple[int, str]:
        """Run a block again and again until it shows what is expected, as a reader does."""
        ended = (0, "")

        async def shown() -> bool:
            nonlocal ended
            ended = await self.run(block)
            return matches(self.here(expected), ended[1])

        await until(shown, timeout_seconds=30)
        return ended


@asynccontextmanager
async def session(folder: Path, telephone: Telephone) -> AsyncIterator[Session]:
    process = await asyncio.create_subprocess_exec(
        *("bash", "--noprofile", "--norc", "-s"),
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    running = Session(process, folder, telephone.url)
    try:
        yield running
    finally:
        await running.run("kill $(jobs -p); wait")
        assert process.stdin
        process.stdin.close()
        await process.wait()


def matches(expected: str, seen: str) -> bool:
    """Return whether a terminal shows a block of the page, in which `…` stands for what differs."""
    pattern = re.escape(_single_spaced(expected)).replace("…", ".*")
    return bool(re.fullmatch(pattern, _single_spaced(seen), re.DOTALL))


def _single_spaced(text: str) -> str:
    """Return a text whose columns have no width."""
    return "\n".join(re.sub(" +", " ", line).rstrip() for line in text.strip().splitlines())


def downloaded(folder: Path) -> None:
    """Put archives of the installed programs where a reader has downloaded them to."""
    programs = {
        "prometheus": ("prometheus", "promtool"),
        "alertmanager": ("prometheus-alertmanager", "amtool"),
    }
    for name, members in programs.items():
        with tarfile.open(folder / f"{name}-1.2.3.linux-amd64.tar.gz", "w:gz") as archive:
            for program in members:
                member = tarfile.TarInfo(
                    f"{name}-1.2.3.linux-amd64/{program.removeprefix('prometheus-')}"
                )
                member.type = tarfile.SYMTYPE
                member.linkname = require(program)
                archive.addfile(member)


@asynccontextmanager
async def ntfy() -> AsyncIterator[Telephone]:
    telephone = Telephone()
    app = Starlette(routes=[Route("/{topic}", telephone.take, methods=["POST"])])
    async with serve(app) as telephone.url:
        yield telephone


@pytest.mark.timeout(180)
async def test_the_tutorial(tmp_path: Path) -> None:
    """Each step shows what the page says, and the telephone is told both ends of each alert."""
    require("curl")
    walk = steps()

    async with ntfy() as telephone, session(tmp_path, telephone) as shell:
        ended = (0, "")
        for step, after in pairwise([*walk, Step("", "")]):
            if step.note == "demo":
                ended = await shell.demo(step.content, after.content)
            elif step.note == "walk, repeated":
                ended = await shell.repeat(step.content, after.content)
            elif step.note.startswith("walk"):
                if "tar " in step.content:
                    downloaded(tmp_path / "loadfleet-tutorial")
                ended = await shell.run(step.content, given=TOKEN)
            elif step.note == "telephone":
                told = await asyncio.wait_for(telephone.told.get(), 60)
                assert matches(f"{shell.here(step.content).strip()}…", told), told
            else:
                code, seen = ended
                assert step.note == f"says {code}"
                assert matches(shell.here(step.content), seen), seen

    assert ["It works."] == telephone.texts
    assert (tmp_path / "loadfleet-tutorial" / "data" / "exporter" / "state.db").exists()
    assert telephone.told.empty()
    assert len(walk) > 25


def test_the_installation_is_that_of_the_how_to() -> None:
    """`tests/deploy/test_pypi.py` runs the commands there."""
    (install,) = [content for _, _, content in BLOCKS if "-m venv" in content]

    assert install in commands("From PyPI")


def receivers() -> list[Any]:
    """Return the receivers that the page offers in the place of ntfy."""
    found = [yaml.safe_load(content) for _, language, content in BLOCKS if language == "yaml"]
    return [each for (each,) in found]


@pytest.mark.parametrize("receiver", receivers(), ids=max)
def test_alertmanager_takes_the_other_receivers(receiver: dict[str, Any], tmp_path: Path) -> None:
    """Alertmanager accepts each receiver of the page."""
    (block,) = [content for _, _, content in BLOCKS if "cat > alertmanager.yml" in content]
    content = block.split("<<END\n")[1].split("END\n")[0].replace("YOUR-", "")
    data = yaml.safe_load(content)
    data["receivers"] = [data["receivers"][0], receiver]
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump(data))

    ended = subprocess.run(
        [require("amtool"), "check-config", path], capture_output=True, text=True, check=False
    )

    assert 0 == ended.returncode, ended.stderr
