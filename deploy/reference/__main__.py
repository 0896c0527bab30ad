"""`python -m deploy.reference FILE…` brings the generated parts of Markdown files up to date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.reference.pages import filled


if TYPE_CHECKING:
    from collections.abc import Sequence


def main(names: Sequence[str]) -> int:
    """Fill the files and return the exit code."""
    for path in map(Path, names):
        try:
            path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
        except OSError as error:
            sys.stderr.write(f"{path}: {error.strerror}; name Markdown files that are there\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
