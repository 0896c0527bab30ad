"""The tests that the wheel ships, one module after the other."""

from __future__ import annotations

from exporter.conformance.suite.test_declared import *  # noqa: F403
from exporter.conformance.suite.test_evidence import *  # noqa: F403
from exporter.conformance.suite.test_isolation import *  # noqa: F403
from exporter.conformance.suite.test_lockout import *  # noqa: F403
from exporter.conformance.suite.test_read_only import *  # noqa: F403
from exporter.conformance.suite.test_secrets import *  # noqa: F403
from exporter.conformance.suite.test_source import *  # noqa: F403
from exporter.conformance.suite.test_surprises import *  # noqa: F403
from exporter.conformance.suite.test_time import *  # noqa: F403
from exporter.conformance.suite.test_tls import *  # noqa: F403
from exporter.sources.registry import BUILT_IN
from tests.support.candidates import CANDIDATES


def test_every_provider_is_a_candidate() -> None:
    """Every built-in provider must take part in the conformance suite."""
    assert {*BUILT_IN} == {candidate.provider.name for candidate in CANDIDATES}
