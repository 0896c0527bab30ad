from __future__ import annotations

import pytest

from exporter.fleet.readings import SuiteRun


@pytest.mark.parametrize(
    ("samples", "sessions", "expected"),
    [
        ({"passed": 75.0, "failed": 25.0}, {"passed": 1.0, "failed": 1.0}, 0.25),
        ({}, {"passed": 1.0, "failed": 1.0}, 0.5),
        ({"passed": 0.0, "failed": 0.0}, {"passed": 3.0, "failed": 1.0}, 0.25),
        ({"passed": 75.0}, {}, None),
        ({"passed": 75.0, "failed": 0.0}, {}, 0.0),
        ({}, {}, None),
    ],
)
def test_the_errors_of_a_run_are_a_share(
    samples: dict[str, float], sessions: dict[str, float], expected: float | None
) -> None:
    """The error ratio must come from samples, else from sessions, else be unknown."""
    run = SuiteRun(run_id="1", samples=samples, sessions=sessions)

    assert expected == run.error_ratio
