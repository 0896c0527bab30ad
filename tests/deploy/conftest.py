"""What would be published, built once."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.image import Builder, Image, require_everything
from tests.deploy.locks import ROOT


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
