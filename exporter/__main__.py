"""The program's start: loading all of it takes a moment, in which Ctrl-C leaves no traceback."""

from __future__ import annotations

import gc
import sys
from importlib import import_module


def main() -> int:
    """Load the command line, run it and return its exit code."""
    # What is imported stays: searches for garbage meanwhile would find next to nothing.
    gc.disable()
    try:
        return int(import_module("exporter.cli").main())
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
