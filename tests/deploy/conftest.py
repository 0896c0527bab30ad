"""Everything that a release would publish, and a system to install it on, each made once."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.debian import bootstrap
from tests.deploy.image import Builder, Image
from tests.deploy.locks import ROOT
from tests.deploy.release import NEXT, Clone, make_template, publish
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the files that `just build` makes of this checkout."""
    folder = tmp_path_factory.mktemp("build") / "dist"
    built = subprocess.run(
        [ROOT / ".ci" / "build", folder], capture_output=True, text=True, check=False
    )
    assert 0 == built.returncode, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    """Yield a base system to copy from, in a folder that is deleted afterwards."""
    for program in ("debootstrap", "unshare"):
        require(program)
    if os.geteuid() != 0:
        pytest.skip("only root may make a base system and enter namespaces")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        bootstrap(root)
        yield root


@pytest.fixture(scope="session")
def image(base: Path) -> Iterator[Image]:
    """Build the image, in a folder that is deleted afterwards."""
    for program in ("buildah", "podman", "nsenter", "ip"):
        require(program)
    with tempfile.TemporaryDirectory() as folder, Builder(Path(folder)).build(base) as image:
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
    """Return a clone that was released by the printed commands; tests must only read it."""
    clone = Clone(_template, tmp_path_factory.mktemp("released"))
    publish(clone, str(NEXT))
    return clone


@pytest.fixture
def tagged(released: Clone, tmp_path: Path) -> Clone:
    """Return a clone of the release, at its tag."""
    return Clone(released.root, tmp_path)
