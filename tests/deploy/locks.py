"""The lock and the image's lists, as data."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


ROOT = Path(__file__).parents[2]

LOCK = "constraints.txt"
IMAGE = ("deploy/image/runtime.txt", "deploy/image/build.txt")


def pins(path: str) -> dict[str, str]:
    """Return the text of each pinned package by its name: version, marker and hashes."""
    text = re.sub(r"^#.*\n", "", (ROOT / path).read_text(), flags=re.MULTILINE)
    blocks = re.split(r"\n(?=\S)", text.strip())
    return {canonicalize_name(requirement(block).name): block for block in blocks}


def requirement(block: str) -> Requirement:
    """Return the requirement of a pinned package's text, without its hashes."""
    return Requirement(block.partition(" \\")[0])
