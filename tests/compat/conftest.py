"""The generations of the programs beside the exporter, as `.ci/generations` fetches them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


#: The generations of Prometheus: that of the installed packages, and the later ones.
GENERATIONS = INSTALLED, NEXT, _ = "installed", "next", "newest"


@pytest.fixture
def generation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put the programs of one generation first on the search path, and return its name."""
    name: str = request.param
    if name == INSTALLED:
        return name
    folder = Path(os.environ.get("GENERATIONS", "generations")).absolute() / name
    if not (folder / "prometheus").exists():
        reason = "GENERATIONS names no folder that .ci/generations has filled"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    for program in ("prometheus", "promtool", "prometheus-alertmanager", "vmalert"):
        assert str(folder / program) == shutil.which(program)
    return name


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that take a generation with each one, or with those that they are marked with.

    The generation in the middle runs with `--whole` only.
    """
    if "generation" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("generations")
        names = list(marked.args if marked else GENERATIONS)
        if not metafunc.config.getoption("whole"):
            names = [name for name in names if name != NEXT]
        metafunc.parametrize("generation", names, indirect=True)
