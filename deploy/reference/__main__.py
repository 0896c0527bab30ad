"""`python -m deploy.reference FILE…` updates the generated parts of Markdown files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.reference.pages import filled


if TYPE_CHECKING:
    from collections.abc import Sequence


def main(names: Sequence[str]) -> int:
    """Update the files.

    Returns:
        The exit code: 0, or 2 if a file cannot be read or written.
    """
    for path in map(Path, names):
        try:
            path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
        except OSError as error:
            sys.stderr.write(f"{path}: {error.strerror}; name existing Markdown files\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
