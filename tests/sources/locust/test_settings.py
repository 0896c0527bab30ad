from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import ConfigurationError
from exporter.settings.load import from_data
from exporter.sources.locust.settings import LocustSettings


URL = "http://127.0.0.1:8089"


def mistakes(**values: Any) -> dict[str, str]:
    """Return what is wrong with a source, by place."""
    try:
        from_data({"sources": [{"provider": "locust", "url": URL, **values}]})
    except ConfigurationError as error:
        texts = (problem.removeprefix("sources[0].") for problem in error.problems)
        return dict(text.split(": ", 1) for text in texts)
    return {}


def risks(**values: Any) -> list[str]:
    return list(LocustSettings.model_validate({"url": URL, **values}).risks())


def test_has_defaults() -> None:
    """Workers are polled often enough to see each dead one, which is listed for 60 s."""
    settings = LocustSettings(url=URL)

    assert {"agents": 20.0, "controllers": 60.0} == settings.intervals()
    assert (86_400.0, 120.0, 3_600.0) == (
        settings.remember_for,
        settings.leave_grace,
        settings.run_linger,
    )
    assert {} == mistakes()
    assert [] == risks()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"url": "locust"}, {"url": "is not an http or https URL; write it as https://host/path"}),
        ({"expected_agents": [""]}, {"expected_agents[0]": "must not be empty"}),
        (
            {"expected_agents": ["lg1", "lg2"], "exclude": {"agents": "lg2"}},
            {
                "expected_agents[1]": "is expected, but include and exclude filter it out;"
                " change one of them"
            },
        ),
        ({"include": {"runs": ".*"}}, {"include.runs": "unknown kind; remove it"}),
        (
            {"tasks": {"runs": "1m"}},
            {"tasks.runs": "unknown task; remove it"},
        ),
    ],
)
def test_names_each_mistake(values: dict[str, Any], expected: dict[str, str]) -> None:
    """Each mistake is named with its place and its remedy."""
    assert expected == mistakes(**values)


def test_warns_of_an_interval_in_which_a_dead_worker_can_go_unseen() -> None:
    """An interval above 20 s must cause a warning: a dead worker is listed for 60 s only."""
    text = (
        "locust is polled every 30 s, and a dead worker is listed for 60 s only; set tasks.agents"
        " to 20s or less"
    )

    assert [text] == risks(tasks={"agents": "30s"})
    assert [] == risks(tasks={"agents": "20s"})
    assert [] == risks(tasks={"agents": "off"})


def test_warns_of_a_password_in_the_clear_and_not_of_none() -> None:
    """Most masters ask for nothing, and nothing is what goes over the network then."""
    url = "http://master.example:8089"

    assert [] == risks(url=url)
    assert ["url of locust begins with http://"] == [
        text.partition(",")[0] for text in risks(url=url, username="us", password="secret")
    ]
