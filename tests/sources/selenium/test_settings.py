from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import ConfigurationError
from exporter.settings.load import from_data
from exporter.sources.selenium.settings import SeleniumSettings


URL = "http://127.0.0.1:4444"


def mistakes(**values: Any) -> dict[str, str]:
    """Return what is wrong with a source, by place."""
    try:
        from_data({"sources": [{"provider": "selenium", "url": URL, **values}]})
    except ConfigurationError as error:
        texts = (problem.removeprefix("sources[0].") for problem in error.problems)
        return dict(text.split(": ", 1) for text in texts)
    return {}


def test_has_defaults() -> None:
    """A hub's own checks are slower than these intervals by far."""
    settings = SeleniumSettings(url=URL)

    assert {"agents": 30.0, "controllers": 60.0} == settings.intervals()
    assert (86_400.0, 60.0) == (settings.remember_for, settings.leave_grace)
    assert {} == mistakes()
    assert [] == list(settings.risks())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"expected_agents": [""]}, {"expected_agents[0]": "must not be empty"}),
        (
            {"expected_agents": ["a:1", "b:1"], "include": {"agents": "a.*"}},
            {
                "expected_agents[1]": "is expected, but include and exclude filter it out;"
                " change one of them"
            },
        ),
        ({"min_agent_version": ""}, {"min_agent_version": "must not be empty"}),
        ({"exclude": {"controllers": "x"}}, {"exclude.controllers": "unknown kind; remove it"}),
    ],
)
def test_names_each_mistake(values: dict[str, Any], expected: dict[str, str]) -> None:
    """Each mistake is named with its place and its remedy."""
    assert expected == mistakes(**values)
