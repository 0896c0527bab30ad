"""`python -m exporter.reference FILE…` brings the generated parts of Markdown files up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from exporter.reference.pages import filled


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
