"""Tools that come with the extra `dev`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.servers import require


def tool(name: str) -> str:
    """Return the path of a tool, preferably this environment's, or skip the test."""
    beside = Path(sys.executable).parent / name
    return str(beside) if os.access(beside, os.X_OK) else require(name)
