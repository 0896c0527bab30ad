"""`python -m tests.bench [name…] [--quick] [--json FILE]`: measure, print ratios, write JSON."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tests.bench import boards, evaluation, growth, peers, polling, serving, whole


if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.harness import Figure


ROWS: dict[str, Callable[..., list[Figure]]] = {
    "unchanged": serving.unchanged,
    "changed": serving.changed,
    "rendering": serving.rendering,
    "ping": polling.cpu_per_ping,
    "pings": polling.ten_thousand,
    "hanging": polling.hanging,
    "neighbours": polling.neighbours,
    "whole": whole.whole,
    "boards": boards.boards,
    "state": whole.state,
    "start": whole.start,
    "growth": growth.growth,
    "evaluation": evaluation.evaluation,
}

_SIGNS = {None: " ", True: "+", False: "-"}


def machine() -> dict[str, str]:
    """Describe the machine."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line for line in info.splitlines() if line.startswith("model name")), "")
    memory = Path("/proc/meminfo").read_text().splitlines()[0].split()[1]
    return {
        "processor": model.partition(":")[2].strip(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory) / 1024**2:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def line(figure: Figure) -> str:
    """Return one figure as a line of text."""
    bound = ">=" if figure.at_least else "<="
    goal = "" if figure.goal is None else f"{bound} {figure.goal:g}"
    detail = ", ".join(f"{name} {value:.3g}" for name, value in figure.detail.items())
    return (
        f"{_SIGNS[figure.met]} {figure.row:<11}{figure.what:<62}"
        f"{figure.value:>9.3g} {goal:<8} {detail}"
    )


def say(*lines: str) -> None:
    """Print lines at once: some rows take minutes."""
    sys.stdout.write("".join(f"{each}\n" for each in lines))
    sys.stdout.flush()


def main() -> int:
    """Measure the requested rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"rows: {', '.join(ROWS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="small loads, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    given = parser.parse_args()
    unknown = set(given.name) - ROWS.keys()
    if unknown:
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    if packages := peers.missing():
        parser.error(f"install what is compared with: apt-get install {' '.join(packages)}")
    about = machine()
    say("; ".join(f"{name}: {value}" for name, value in about.items()))
    figures: list[Figure] = []
    for name in given.name or ROWS:
        begun = time.monotonic()
        found = ROWS[name](quick=given.quick)
        figures += found
        say(*map(line, found), f"  {name} took {time.monotonic() - begun:.0f} s")
    if given.json:
        document = {"machine": about, "quick": given.quick, "figures": figures}
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
