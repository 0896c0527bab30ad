"""Fixtures that run the wheel's conformance suite for the exporter's own providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.conformance.cases import parametrize
from exporter.conformance.fixtures import authority, ca_file, trial
from tests.support.candidates import CANDIDATES


if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.conformance.candidate import Candidate


__all__ = ["authority", "ca_file", "trial"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test for every candidate that it is for."""
    parametrize(metafunc, CANDIDATES)


@pytest.fixture
def others(candidate: Candidate) -> Mapping[str, Candidate]:
    """Return the candidates polled beside the tested one."""
    return {each.name: each for each in CANDIDATES if each.provider is not candidate.provider}
