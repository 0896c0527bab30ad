"""A provider says beforehand what it tells and what can be set, and keeps to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exporter.metrics.catalogue import PREFIX
from exporter.sources.plugins import families
from exporter.sources.settings import SourceSettings


if TYPE_CHECKING:
    from exporter.conformance.candidate import Candidate
    from exporter.conformance.trial import Trial


async def test_families_of_its_own_are_those_declared(trial: Trial, candidate: Candidate) -> None:
    """Each declared family is filled from the vendor's replies, and there is no other."""
    prefix = f"{PREFIX}{candidate.provider.name}_"
    declared = {family.name for family in families(candidate.provider.mappings)}

    await trial.poll()

    assert declared == {name for name, _ in trial.page() if name.startswith(prefix)}


def test_settings_are_described_and_have_defaults(candidate: Candidate) -> None:
    """But for the URL nothing has to be set, and each field is told in a class's docstring."""
    model = candidate.provider.settings
    texts = "\n".join(base.__doc__ or "" for base in model.__mro__)
    own = {name: each for name, each in model.model_fields.items() if name not in _INHERITED}

    assert {"url"} >= {name for name, each in model.model_fields.items() if each.is_required()}
    assert [] == [name for name in own if not _is_told(name, texts)]


def _is_told(name: str, texts: str) -> bool:
    return re.search(rf"^ +(\w+, )*{name}\b.*: ", texts, re.MULTILINE) is not None


#: Described where the exporter has them, or always the same.
_INHERITED = {*SourceSettings.model_fields, "provider", "name", "url"}


def test_tasks_have_intervals(candidate: Candidate) -> None:
    """Each task has a default interval, or none if it is polled on request only."""
    tasks = candidate.provider.settings.TASKS

    assert tasks
    assert all(seconds is None or seconds > 0 for seconds in tasks.values())
    assert {*candidate.provider.spread} <= {*tasks}
