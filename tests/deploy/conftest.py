"""What would be published, built once."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.deploy.locks import ROOT


if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what `just build` makes of this checkout."""
    folder = tmp_path_factory.mktemp("build") / "dist"
    built = subprocess.run(
        [ROOT / ".ci" / "build", folder], capture_output=True, text=True, check=False
    )
    assert 0 == built.returncode, built.stdout + built.stderr
    return folder
