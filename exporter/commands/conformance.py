"""`conformance`: tests a plug-in against the rules that every provider must keep."""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.sources.plugins import package_of
from exporter.sources.registry import BROKEN, BUILT_IN, INSTALLED


if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from exporter.conformance.candidate import Candidate


GROUP = "loadfleet_exporter.candidates"

#: The modules of the extra `conformance`.
_EXTRA = ("pytest", "pytest_asyncio", "pytest_timeout", "trustme")


class _NothingToTryError(Exception):
    """There is no candidate to test; the message gives the reason and the remedy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the plug-in, and the flags that select checks."""
    parser.add_argument(
        "package", metavar="PACKAGE", help="an installed distribution, or one of its providers"
    )
    parser.add_argument(
        "--only",
        metavar="WORDS",
        default="",
        help="run the checks whose names match this expression, as with pytest's -k",
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="inject each fault into each operation, not only into a sample",
    )
    parser.add_argument(
        "--junit", metavar="FILE", type=Path, help="also write the results to a file as JUnit XML"
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the suite for the candidates of a plug-in.

    Returns:
        The exit code: 0, 1 if a check failed or the plug-in cannot be used, 2 if nothing was
        tested.
    """
    del environ
    package = arguments.package
    broken = [each for each in BROKEN if _is(package, each.name, each.package)]
    for each in broken:
        print(f"FAILED  {each}")
    try:
        candidates = list(_candidates(package)) if not broken else []
    except _NothingToTryError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    if broken:
        return 1
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        print(
            f"conformance: {', '.join(missing)} cannot be imported; install the extra:"
            " pip install 'loadfleet-exporter[conformance]'",
            file=sys.stderr,
        )
        return 2
    return _run(candidates, arguments)


def _run(candidates: list[Candidate], arguments: argparse.Namespace) -> int:
    # This imports pytest, which is installed only with the extra.
    from exporter.conformance.report import run  # noqa: PLC0415

    for candidate in candidates:
        kinds = ", ".join(candidate.provider.kinds)
        package = INSTALLED[candidate.provider.name].package
        print(f"{candidate.name}: the provider {candidate.provider.name} of {package} ({kinds})")
    print("Only its simulated vendor on this machine is called. This takes minutes.")
    report = run(
        candidates,
        sys.stdout,
        only=arguments.only,
        junit=arguments.junit,
        whole=arguments.whole,
    )
    counts = report.counts
    if not counts and not report.broken:
        print(f"conformance: no check matches --only {arguments.only!r}", file=sys.stderr)
        return 2
    print(f"\n{counts['passed']} cases passed, {counts['failed']} failed.")
    return 1 if counts["failed"] or report.broken else 0


def _candidates(package: str) -> Iterator[Candidate]:
    """Yield the candidates of a distribution or a provider.

    Raises:
        _NothingToTryError: There is no candidate.
    """
    names = {name: each for name, each in INSTALLED.items() if _is(package, name, each.package)}
    if not names and not any(_is(package, each.name, each.package) for each in BROKEN):
        if package in BUILT_IN:
            raise _NothingToTryError(f"{package} is built in; the exporter's own tests cover it")
        known = ", ".join(sorted({*INSTALLED} | {each.name for each in BROKEN})) or "none"
        raise _NothingToTryError(
            f"{package} is neither an installed package with a provider nor a provider of one;"
            f" installed providers: {known}"
        )
    for name in names:
        yield from _candidates_of(name)


def _candidates_of(name: str) -> Iterator[Candidate]:
    from exporter.conformance.candidate import Candidate  # noqa: PLC0415 - brings the engine

    points = entry_points(group=GROUP, name=name)
    if not points:
        raise _NothingToTryError(
            f"{INSTALLED[name].package} has no candidate for {name}; declare one as the entry point"
            f" {name!r} of the group {GROUP}, see the page on adding a provider"
        )
    for point in points:
        try:
            found = point.load()
        except (Exception, SystemExit) as error:
            raise _NothingToTryError(
                f"{point.value} of {package_of(point)} cannot be loaded"
                f" ({type(error).__name__}: {error})"
            ) from error
        for candidate in found if isinstance(found, tuple | list) else (found,):
            if not isinstance(candidate, Candidate):
                raise _NothingToTryError(f"{point.value} is neither a Candidate nor a list of them")
            if candidate.provider.name != name:
                raise _NothingToTryError(f"{point.value} is no candidate for {name}")
            yield candidate


def _is(wanted: str, name: str, package: str) -> bool:
    """Return whether `wanted` is this provider's name or that of its distribution.

    Args:
        wanted: The command's argument.
        name: The provider's name.
        package: The distribution and its version, separated by a space.
    """
    return wanted == name or _normal(wanted) == _normal(package.partition(" ")[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
