"""What would be published, built once."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.image import Builder, Image, require_everything
from tests.deploy.locks import ROOT
from tests.deploy.release import NEXT, Clone, make_template, publish


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what `just build` makes of this checkout."""
    folder = tmp_path_factory.mktemp("build") / "dist"
    built = subprocess.run(
        [ROOT / ".ci" / "build", folder], capture_output=True, text=True, check=False
    )
    assert 0 == built.returncode, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """Build the image, in a folder that goes afterwards: it is large."""
    require_everything()
    with tempfile.TemporaryDirectory() as folder, Builder(Path(folder)).build() as image:
        yield image


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make_template(folder)
    return folder


@pytest.fixture
def clone(_template: Path, tmp_path: Path) -> Clone:
    """Return a clone of this checkout's files, to release them."""
    return Clone(_template, tmp_path)


@pytest.fixture(scope="session")
def released(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a clone that was released with the commands that the person is told; only read it."""
    clone = Clone(_template, tmp_path_factory.mktemp("released"))
    publish(clone, str(NEXT))
    return clone


@pytest.fixture
def tagged(released: Clone, tmp_path: Path) -> Clone:
    """Return a clone of what was released, at its tag."""
    return Clone(released.root, tmp_path)
