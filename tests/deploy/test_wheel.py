"""The wheel, made offline from the sdist as an index would make it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.deploy.locks import ROOT


if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.slow


def test_the_wheel_serves_its_runbooks(tmp_path: Path) -> None:
    """An installation has no checkout beside it, so it finds them within itself."""
    build(ROOT, "sdist", tmp_path)
    shutil.unpack_archive(next(tmp_path.glob("*.tar.gz")), tmp_path / "sdist", filter="data")
    build(next((tmp_path / "sdist").iterdir()), "wheel", tmp_path)
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), tmp_path / "wheel", "zip")

    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'wheel')!r})\n"
        "from exporter.web.endpoints import runbooks\n"
        "print(runbooks.__file__, *runbooks.Runbooks().names, sep='\\n')"
    )
    place, *names = run(sys.executable, "-c", code, folder=tmp_path).split()

    assert place.startswith(str(tmp_path))
    assert ["exporter"] == [
        path.name for path in (tmp_path / "wheel").iterdir() if path.suffix != ".dist-info"
    ]
    assert sorted(path.stem for path in (ROOT / "deploy" / "runbooks").iterdir()) == names


def build(source: Path, target: str, folder: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder), folder=source)


def run(*command: str, folder: Path) -> str:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert 0 == ended.returncode, ended.stderr
    return ended.stdout
