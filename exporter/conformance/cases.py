"""The selection of candidates for each test of the suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from exporter.conformance.candidate import Candidate

    Condition = Callable[[Candidate], Any]


_Test = TypeVar("_Test", bound="Callable[..., Any]")


def given(condition: Condition) -> Callable[[_Test], _Test]:
    """Return a decorator that restricts a test to the candidates that fulfil a condition."""

    def marked(test: _Test) -> _Test:
        test.given = condition  # type: ignore[attr-defined]
        return test

    return marked


def parametrize(metafunc: pytest.Metafunc, candidates: Sequence[Candidate]) -> None:
    """Parametrize a test with the candidates that fulfil its condition."""
    if "candidate" in metafunc.fixturenames:
        condition: Condition = getattr(metafunc.function, "given", lambda _: True)
        found = [candidate for candidate in candidates if condition(candidate)]
        metafunc.parametrize("candidate", found, ids=lambda candidate: candidate.name)
