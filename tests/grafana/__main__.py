"""`python -m tests.grafana`: draw the dashboards with Grafana's own panels and judge them."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.grafana.drawing import Fault, canvas, default_folder, prepare, squeeze
from tests.grafana.history import SAMPLES, STEP_SECONDS, history


if TYPE_CHECKING:
    from collections.abc import Iterable


DASHBOARDS = Path(__file__).parent.parent.parent / "grafana" / "dashboards"

#: Panels that may have nothing to show, by dashboard and title, and why.
MAY_BE_EMPTY: dict[tuple[str, str], str] = {}

MODES = ("light", "dark")


def main() -> int:
    """Draw the requested dashboards; the exit code is 1 if anything looks wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.grafana", description=__doc__)
    parser.add_argument(
        "--npm",
        type=Path,
        metavar="FOLDER",
        default=default_folder(),
        help="where the packages are, or are installed to (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write pictures there")
    parser.add_argument(
        "--dashboards",
        type=Path,
        metavar="FOLDER",
        default=DASHBOARDS,
        help="the JSON files (default: those of the repository)",
    )
    parser.add_argument(
        "--dashboard", action="append", metavar="UID", help="this one only; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="half an hour instead of six")
    given = parser.parse_args()
    boards = [json.loads(path.read_text()) for path in sorted(given.dashboards.glob("*.json"))]
    wanted = set(given.dashboard or [board["uid"] for board in boards])
    if unknown := wanted - {board["uid"] for board in boards}:
        parser.error(f"there is no dashboard {', '.join(sorted(unknown))} in {given.dashboards}")
    try:
        prepare(given.npm)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        parser.error(f"the packages cannot be installed into {given.npm}: {error}")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        chosen = [board for board in boards if board["uid"] in wanted]
        samples = SAMPLES // 12 if given.quick else SAMPLES
        faults = asyncio.run(_draw(chosen, Path(folder), samples, given.npm, given.out))
    say(*map(str, faults), f"{len(faults)} faults" if faults else "nothing looks wrong")
    return 1 if faults else 0


async def _draw(
    boards: Iterable[dict[str, Any]],
    folder: Path,
    samples: int,
    packages: Path,
    out: Path | None,
) -> list[Fault]:
    """Draw dashboards, print the result, and return the faults."""
    faults: list[Fault] = []
    async with (
        history(folder, samples=samples) as held,
        canvas(held.url, packages, span_seconds=samples * STEP_SECONDS) as drawing,
    ):
        for board in boards:
            uid = board["uid"]
            pictures = [out / f"{uid}-{mode}.png" for mode in MODES] if out else []
            drawn = await drawing.draw(board, picture=pictures[0] if pictures else None)
            if pictures:
                await drawing.draw(board, mode="dark", picture=pictures[1])
                await asyncio.to_thread(squeeze, packages, *pictures)
            say(f"{uid}: {len(drawn.rendered)} panels rendered")
            say(*(f"{uid}: not on npm, so not rendered: {name}" for name in drawn.missing))
            faults += judged(drawn.faults, MAY_BE_EMPTY)
    return faults


def judged(faults: Iterable[Fault], may_be_empty: dict[tuple[str, str], str]) -> list[Fault]:
    """Return the faults without panels that may be empty."""
    return [
        fault
        for fault in faults
        if fault.reason != "it is empty" or (fault.uid, fault.panel) not in may_be_empty
    ]


def say(*lines: str) -> None:
    """Print lines at once: some dashboards take a while."""
    sys.stdout.write("".join(f"{each}\n" for each in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
