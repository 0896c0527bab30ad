"""A source survives replies whose content changes without notice."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.conformance.front import changed_json
from exporter.conformance.trial import accused, select, ups, vendor_samples


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.conformance.front import Treatment
    from exporter.conformance.trial import Trial


#: Values that replace any other value.
ODD: tuple[Any, ...] = (
    *(None, True, [], {}, [None, 1, "a", {}], {"unheard": {"of": []}}),
    *(-1, 0, 2**70, 1e300, -0.5),
    *("", "surprise", "5", 'a\\b\0\n"', "x" * 5_000),
)


def rewritten(change: Callable[[Any], Any]) -> Treatment:
    """Return a treatment that changes every value of a reply, the inner ones first."""

    def inner(value: Any) -> Any:
        if isinstance(value, dict):
            return change({key: inner(part) for key, part in value.items()})
        if isinstance(value, list):
            return change([inner(part) for part in value])
        return change(value)

    return changed_json(lambda value: json.dumps(inner(value)).encode())


def surprises(trial: Trial) -> float:
    """Return the number of surprises so far."""
    return sum(select(trial.page(), "loadfleet_exporter_vendor_surprises_total").values())


async def test_new_fields_change_nothing(trial: Trial) -> None:
    """New fields in a reply are ignored and do not count as surprises."""
    await trial.poll()
    before = vendor_samples(trial.page(), trial.only.name).keys()
    trial.only.front.treatment = rewritten(
        lambda value: {**value, "unheardOf": {"a": [1]}} if isinstance(value, dict) else value
    )

    await trial.poll()

    assert before == vendor_samples(trial.page(), trial.only.name).keys()
    assert {} == trial.failures()[trial.only.name]
    assert 0 == surprises(trial)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
async def test_odd_values_never_break_a_poll(trial: Trial, share: float) -> None:
    """Odd values are skipped or counted, crash no poll, and have no lasting effect."""
    name = trial.only.name
    await trial.poll()
    good = ups(trial.page())

    with capture_logs() as logs:
        for seed in range(10):
            trial.only.front.treatment = rewritten(_now_and_then(seed, share))
            await trial.poll()
            trial.page()
            trial.time.shift(62.0)

    assert [] == [entry for entry in logs if entry["event"] == "poll_crashed"]
    assert surprises(trial) or trial.failures()[name]
    trial.only.front.treatment = None
    trial.time.shift(86_401.0)
    await trial.poll()
    assert good == ups(trial.page())
    assert {} == accused(trial.page(), name)


def _now_and_then(seed: int, share: float) -> Callable[[Any], Any]:
    chance = Random(seed)  # noqa: S311 - repeatable, not secret
    return lambda value: chance.choice(ODD) if chance.random() < share else value
