"""The image's sources, as far as they can be judged without building."""

from __future__ import annotations

import re
import subprocess
import tomllib

from exporter import __version__
from tests.deploy.locks import IMAGE, LOCK, ROOT, pins
from tests.deploy.tools import tool


RUNTIME, _ = IMAGE
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def direct_dependencies() -> set[str]:
    """Return what pyproject.toml asks for to run the exporter at full speed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["speed"]]
    return {re.split(r"[=<>!~ ;\[]", text)[0].lower() for text in asked}


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile must keep the rules of its trade."""
    checked = subprocess.run(
        [tool("hadolint"), "--no-color", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (checked.returncode, checked.stdout)


def test_the_image_has_what_was_tested() -> None:
    """The image must hold the very wheels that the tests run with, and all that are needed."""
    tested, runtime = (
        {name: re.sub(r" ;[^\\]*", " ", block) for name, block in pins(path).items()}  # any system
        for path in (LOCK, RUNTIME)
    )
    differing = sorted(name for name in runtime if runtime[name] != tested.get(name))

    assert [] == differing, "run `just lock`"
    assert set() == direct_dependencies() - set(runtime), "run `just lock`"


def test_development_stays_outside() -> None:
    """The image must not carry what only developers need."""
    developers = {"pytest", "mypy", "ruff", "hypothesis", "coverage", "hatchling", "pip"}

    assert set() == developers & set(pins(RUNTIME))


def test_its_version_is_ours() -> None:
    """The label must name the version that is inside."""
    assert [__version__] == re.findall(r"^ARG VERSION=(.+)$", DOCKERFILE, re.MULTILINE)


def test_the_stages_share_their_base() -> None:
    """The environment is copied from stage to stage, so its interpreter must be at its place."""
    assert 1 == len(set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)))


def test_the_build_gets_what_it_copies_and_no_more() -> None:
    """A file that the build does not use must not invalidate its cache or get into it."""
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        ROOT / path
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for path in sources.split()
    ]

    wanted = {path.parent if path.parent.name == "image" else path for path in copied}
    assert allowed == {str(path.relative_to(ROOT)) for path in wanted}
    assert all(path.exists() for path in copied)
