"""The fixtures of the suite's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from exporter.conformance.trial import Trial


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.conformance.candidate import Candidate


@pytest.fixture
async def trial(candidate: Candidate, tmp_path: Path) -> AsyncIterator[Trial]:
    """Return a trial with the candidate as its only source."""
    async with Trial({candidate.name: candidate}, tmp_path, timeout="4s") as connected:
        yield connected


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return the certificate authority that all sources trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file with the authority's certificate; the system's file takes long to load."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)
