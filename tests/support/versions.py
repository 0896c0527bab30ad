"""The versions of the programs used by the tests, for the end of the report."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.servers import require


#: Versions of programs used in this test run, one per line; `tests/conftest.py` prints them.
SEEN: list[str] = []


def note(generation: str, *programs: str) -> tuple[int, ...]:
    """Record the versions of programs, and return major and minor of the first one."""
    versions = [_version(require(program)) for program in programs]
    for program, version in zip(programs, versions, strict=True):
        SEEN.append(f"{generation}: {program} {version}")
    return tuple(int(part) for part in versions[0].split(".")[:2])


def _version(path: str) -> str:
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    found: list[str] = re.findall(r"version v?(\d[\w.]*)", told.stdout + told.stderr)
    if not found:
        # Debian's VictoriaMetrics knows no version; .ci/debian keeps the extracted package.
        folder = Path(path).resolve().parents[3] / "packages"
        found = [each.name.split("_")[1] for each in folder.glob(f"{Path(path).name}_*.deb")]
    return found[0]
