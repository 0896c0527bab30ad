"""A source never sends a call that could change something at the vendor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from exporter.conformance.front import changed_json, line
from exporter.conformance.trial import fits


if TYPE_CHECKING:
    from exporter.conformance.trial import Trial


def forbidden(trial: Trial) -> list[str]:
    """Return the requests that were sent and are not allowed."""
    allowed = trial.only.candidate.allowed
    return [line(seen) for seen in trial.only.front.seen if not fits(allowed, seen)]


async def test_only_what_is_allowed_is_sent(trial: Trial) -> None:
    """Polls and explanations send only allowed requests, which are read-only."""
    await trial.poll()
    trial.time.shift(61.0)
    await trial.poll()
    source = trial.engine.pollers[trial.only.name].source
    for kind, target in trial.targets().items():
        await source.explain(kind, target)

    assert trial.only.front.seen
    assert [] == forbidden(trial)
    assert [] == trial.only.portal.violations


@pytest.mark.parametrize(
    "poison", ["1/../../stop", "1?x=1#", "%2e%2e", "a\r\nX: y", '","action":"deleteFile']
)
async def test_no_reply_can_steer_a_call(trial: Trial, poison: str) -> None:
    """No id in a reply changes the path or the action of a call."""
    trial.only.front.treatment = changed_json(
        lambda value: json.dumps(poisoned(value, poison)).encode()
    )

    await trial.poll()
    trial.time.shift(61.0)
    await trial.poll()

    assert [] == forbidden(trial)
    assert [] == trial.only.portal.violations
    assert not [
        seen for seen in trial.only.front.seen if "\n" in seen.target or "x" in seen.headers
    ]


def poisoned(value: Any, poison: str) -> Any:
    """Return a reply with every id replaced by a text."""
    if isinstance(value, list):
        return [poisoned(part, poison) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        key: poison
        if key.lower().endswith("id") and not isinstance(part, dict | list)
        else poisoned(part, poison)
        for key, part in value.items()
    }
