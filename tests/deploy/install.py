"""The commands of pages, as their readers copy them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.deploy.locks import ROOT


if TYPE_CHECKING:
    from pathlib import Path


PAGE = ROOT / "deploy" / "docs" / "how-to" / "install.md"


def commands(heading: str, page: Path = PAGE) -> list[str]:
    """Return the shell blocks of a section of a page, in order."""
    _, found, rest = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert found, f"{page.name} has no section {heading!r}"
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
