"""Programs that some tests need beside Python."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


#: Where `.ci/generators` puts real load generators: not in the path, since the demo starts those.
_GENERATORS = Path(__file__).parents[2] / ".venv" / "generators" / "bin"


def require(program: str) -> str:
    """Return the path of a program, or skip the test.

    In CI, where everything is meant to be installed, its absence fails the test.
    """
    path = shutil.which(program) or shutil.which(program, path=_GENERATORS)
    if path is None:
        reason = f"{program} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
