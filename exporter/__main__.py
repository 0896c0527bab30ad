"""Entry point of the program. Ctrl-C leaves no traceback, even while the modules are loading."""

from __future__ import annotations

import gc
import sys
from importlib import import_module


def main() -> int:
    """Load the command line and run it.

    Returns:
        The exit code.
    """
    # Imported objects stay alive, so garbage collection during the imports would free nothing.
    gc.disable()
    try:
        return int(import_module("exporter.cli").main())
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
