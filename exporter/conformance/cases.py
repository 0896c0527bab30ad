"""The cases of the suite's tests: which candidates and which faults each is run with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from exporter.conformance.candidate import Candidate

    Condition = Callable[[Candidate], Any]


_Test = TypeVar("_Test", bound="Callable[..., Any]")


def given(condition: Condition) -> Callable[[_Test], _Test]:
    """Have a test run only for candidates of which a condition holds."""

    def marked(test: _Test) -> _Test:
        test.given = condition  # type: ignore[attr-defined]
        return test

    return marked


def parametrize(metafunc: pytest.Metafunc, candidates: Sequence[Candidate]) -> None:
    """Make a test of each of the candidates that a test is for."""
    if "candidate" in metafunc.fixturenames:
        condition: Condition = getattr(metafunc.function, "given", lambda _: True)
        found = [candidate for candidate in candidates if condition(candidate)]
        metafunc.parametrize("candidate", found, ids=lambda candidate: candidate.name)
