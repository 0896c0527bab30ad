"""The wheel and the sdist: accepted by an index, and installed as users do."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exporter import __version__
from tests.deploy.install import commands
from tests.deploy.locks import ROOT
from tests.deploy.tools import tool
from tests.support.processes import fetch, running
from tests.support.wait import until


if TYPE_CHECKING:
    from email.message import Message


pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REPOSITORY = "https://github.com/loadfleet/loadfleet-exporter"
FILES = f"{REPOSITORY}/blob/v{__version__}/"
PICTURES = f"https://raw.githubusercontent.com/loadfleet/loadfleet-exporter/v{__version__}/"


@pytest.fixture
def metadata(dist: Path) -> Message:
    """Return the wheel's metadata, with the description as the payload."""
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


@pytest.fixture
def environ(dist: Path, tmp_path: Path) -> dict[str, str]:
    """Return an environment in which the exporter is installed from the build."""
    programs = [tmp_path / "bin", Path(sys.executable).parent]
    return {
        **{name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"},
        "HOME": str(tmp_path),
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_FIND_LINKS": str(dist),
        "PIP_FIND_LINKS": str(dist),
        "LOADFLEET_WEB_LISTEN_ADDRESS": "127.0.0.1:0",
        "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
    }


def test_an_index_takes_them(dist: Path) -> None:
    """PyPI must neither refuse the upload nor fail to show the description."""
    check("twine", "check", "--strict", *dist.glob("*.whl"), *dist.glob("*.tar.gz"))


def test_the_wheel_holds_the_package_alone(dist: Path) -> None:
    """No test, no document and no compiled file may get into an installation."""
    check("check-wheel-contents", "--toplevel", "exporter", *dist.glob("*.whl"))


def check(program: str, *arguments: str | Path) -> None:
    ended = subprocess.run([tool(program), *arguments], capture_output=True, text=True, check=False)
    assert 0 == ended.returncode, ended.stdout + ended.stderr


def test_it_says_where_it_is_at_home(metadata: Message) -> None:
    """A person on PyPI must find documents, changes and the place to report a bug."""
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    links = dict(link.split(", ") for link in metadata.get_all("Project-URL", []))

    assert {"Homepage", "Documentation", "Changelog", "Source", "Issues"} == set(links)
    assert project["site_url"] == links.pop("Documentation")
    assert all(link.startswith(REPOSITORY) for link in links.values())

    assert (ROOT / "CHANGELOG.md").is_file()
    assert "The loadfleet-exporter authors" == metadata["Author"]
    assert __version__ == metadata["Version"]


def test_its_links_lead_to_the_files_of_this_version(metadata: Message) -> None:
    """PyPI has no repository around the text, so no link of it may be relative or broken."""
    text = metadata.get_payload(decode=True).decode()  # type: ignore[union-attr]
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    inside = [link for link in links if link.startswith((FILES, PICTURES))]

    assert "markdown" in metadata["Description-Content-Type"]
    assert [] == [link for link in links if not link.startswith(("https://", "http://", "#"))]
    assert [] == [link for link in inside if not _file(link).exists()]
    assert inside


def _file(link: str) -> Path:
    path = link.removeprefix(FILES).removeprefix(PICTURES).partition("#")[0]
    return ROOT / path


def demos() -> list[str]:
    return [each.strip() for each in commands("From PyPI") if each.strip().endswith(" demo")]


@pytest.mark.parametrize("command", demos())
async def test_the_demo_runs_without_an_installation(
    command: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """A single command must lead to a page, in a folder without a checkout."""
    async with running(
        *("bash", "-c", f"cd {tmp_path} && exec {command}"),
        folder=tmp_path,
        name="demo",
        environ=environ,
    ) as demo:
        await until(lambda: demo.ended or "board " in demo.output, timeout_seconds=120)
        assert not demo.ended, demo.errors
        board = re.search(r"^board +(\S+)", demo.output, re.MULTILINE)
        assert board

        page = await fetch(f"{board[1]}metrics")

    assert f'version="{__version__}"' in page


def test_both_runners_are_on_the_page() -> None:
    """The commands that are tested must be those of uv and of pipx."""
    assert ["uvx", "pipx"] == [command.split()[0] for command in demos()]


@pytest.mark.parametrize(
    "block", [block for block in commands("From PyPI") if block.strip() not in demos()]
)
def test_it_is_installed_to_stay(block: str, environ: dict[str, str], tmp_path: Path) -> None:
    """Each documented way to install must give this version's command, with the extra."""
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert f"loadfleet-exporter {__version__}" in ended.stdout
    assert list(tmp_path.glob("**/site-packages/uvloop"))
