"""What the faults have in common."""

from __future__ import annotations

import pytest
import trustme


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Make the authority that all sources trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write its certificate to a file: the system's take long to load, source by source."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    """Return the seeds with which scenarios are played."""
    first: int = request.config.getoption("--seed")
    plays: int = request.config.getoption("--plays")
    return range(first, first + plays)
