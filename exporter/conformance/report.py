"""A run of the suite for candidates, with a report that is printed check by check."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest

from exporter.conformance import fixtures, suite
from exporter.conformance.cases import parametrize
from exporter.conformance.faults import grid, table
from exporter.conformance.stalls import REPLAYS


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter.conformance.candidate import Candidate


_INI = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
timeout = 120
verbosity_assertions = 2
"""

#: The exit codes of a pytest run without an internal error or a wrong option.
_COMPLETED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)

#: The limits for the message of a failed check in the report.
MAX_LINES, MAX_CHARACTERS = 12, 1_500


class Report:
    """A pytest plug-in that selects the cases and prints their outcomes.

    Attributes:
        counts: The number of cases by outcome: `passed`, `failed`, `skipped`.
        broken: Whether a part of the suite could not run.
    """

    def __init__(self, candidates: Sequence[Candidate], out: TextIO, *, whole: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.broken = False
        self._candidates = candidates
        self._out = out
        self._whole = whole
        self._left: Counter[str] = Counter()
        self._items: dict[str, pytest.Function] = {}
        self._group = ""
        self._outcomes: Counter[str] = Counter()
        self._seen: list[str] = []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize a test with its candidates, or with batches of faults."""
        parametrize(metafunc, self._candidates)
        if "batch" in metafunc.fixturenames:
            # Faults that flood or refuse connections test only the exporter's own HTTP client.
            common = (each for each in table.FAULTS if not (each.refuses or each.floods))
            cells = list(grid.cells(self._candidates, (*common, *grid.FAULTS)))
            found = cells if self._whole else grid.sample(cells, 1)
            metafunc.parametrize("batch", grid.batches(found), ids=grid.name_of)

    @pytest.fixture
    def others(self, candidate: Candidate) -> Mapping[str, Candidate]:
        """Return the healthy sources beside the faulty one: a second one of the same candidate."""
        return {"well": candidate}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the cases of each check."""
        self._items = {
            item.nodeid: item for item in session.items if isinstance(item, pytest.Function)
        }
        self._left = Counter(map(_check, self._items.values()))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Report a module that cannot be imported."""
        if report.failed:
            self.broken = True
            print(f"cannot run: {report.nodeid}\n{report.longrepr}", file=self._out)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the outcome of a phase, and print the check after its last case."""
        item = self._items[report.nodeid]
        if report.failed or (report.skipped and report.when == "setup"):
            self._outcomes[report.outcome] += 1
        elif report.passed and report.when == "call":
            self._outcomes["passed"] += 1
        if report.failed and not self._seen:
            self._seen = _seen(item, report)
        if report.when != "teardown":
            return
        self._left[_check(item)] -= 1
        if not self._left[_check(item)]:
            self._print(item)

    def _print(self, item: pytest.Function) -> None:
        group = _sentence(item.module)
        if group != self._group:
            print(f"\n{group}", file=self._out)
            self._group = group
        outcome = next(each for each in ("failed", "passed", "skipped") if self._outcomes[each])
        word = {"failed": "FAILED", "passed": "ok", "skipped": "-"}[outcome]
        text = "applies to no candidate" if outcome == "skipped" else f"{self._outcomes[outcome]}"
        if outcome == "failed":
            text += f" of {self._outcomes.total()}"
        print(f"  {word:<6}  {_sentence(item.function)} ({text})", file=self._out)
        if self._seen:
            print(f"          {_check(item)}", file=self._out)
        for line in self._seen:
            print(f"          {line}", file=self._out)
        self._out.flush()
        self.counts += self._outcomes
        self._outcomes, self._seen = Counter(), []


def run(
    candidates: Sequence[Candidate],
    out: TextIO,
    *,
    only: str = "",
    junit: Path | None = None,
    whole: bool = False,
) -> Report:
    """Run the suite and print the report.

    Args:
        candidates: The candidates to test.
        out: Receives the report; the tests' own output is discarded.
        only: An expression of test names, as for pytest's `-k`.
        junit: A file for the results as JUnit XML.
        whole: Whether to inject each fault into each operation; otherwise only a sample.

    Returns:
        The report with the numbers of passed, failed and skipped cases.
    """
    report = Report(candidates, out, whole=whole)
    with tempfile.TemporaryDirectory() as folder:
        ini = Path(folder) / "pytest.ini"
        ini.write_text(_INI)
        arguments = [
            *(str(Path(suite.__file__).parent), "-c", str(ini), "--rootdir", folder),
            *("-p", "no:cacheprovider", "-p", "no:terminal", "--capture=sys"),
            *("--import-mode=importlib", "--basetemp", str(Path(folder) / "tests")),
            *(("-k", only) if only else ()),
            *(("--junitxml", str(junit)) if junit else ()),
        ]
        # These options are for the user's own tests.
        os.environ.pop("PYTEST_ADDOPTS", None)
        code = pytest.main(arguments, plugins=[report, fixtures])
    report.broken |= code not in _COMPLETED
    if REPLAYS:
        print(f"\nrepeated, because the machine was too slow: {len(REPLAYS)}", file=out)
    return report


def _check(item: pytest.Function) -> str:
    """Return the name of a check for `--only`."""
    return item.originalname


def _sentence(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


def _seen(item: pytest.Function, report: pytest.TestReport) -> list[str]:
    """Return the case and its error message, within the limits."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text: str = crash.message if crash is not None else str(report.longrepr)
    lines = text[:MAX_CHARACTERS].splitlines()[:MAX_LINES]
    case = item.name.removeprefix(item.originalname)
    return [f"in {case}", *(line for line in lines if line.strip())]
