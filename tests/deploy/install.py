"""The commands of the page on installing, as its readers copy them."""

from __future__ import annotations

import re

from tests.deploy.locks import ROOT


PAGE = ROOT / "deploy" / "docs" / "install.md"


def commands(heading: str) -> list[str]:
    """Return the shell blocks of a section, in their order."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert found, f"{PAGE.name} has no section {heading!r}"
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
