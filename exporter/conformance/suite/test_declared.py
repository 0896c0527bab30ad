"""A provider declares its metrics, settings and tasks completely."""

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
    """The vendor's replies fill every declared family of the provider, and no others."""
    prefix = f"{PREFIX}{candidate.provider.name}_"
    declared = {family.name for family in families(candidate.provider.mappings)}

    await trial.poll()

    assert declared == {name for name, _ in trial.page() if name.startswith(prefix)}


def test_settings_are_described_and_have_defaults(candidate: Candidate) -> None:
    """Every setting but the URL has a default and a description in a class's docstring."""
    model = candidate.provider.settings
    texts = "\n".join(base.__doc__ or "" for base in model.__mro__)
    own = {name: each for name, each in model.model_fields.items() if name not in _INHERITED}

    assert {"url"} >= {name for name, each in model.model_fields.items() if each.is_required()}
    assert [] == [name for name in own if not _is_described(name, texts)]


def _is_described(name: str, texts: str) -> bool:
    return re.search(rf"^ +(\w+, )*{name}\b.*: ", texts, re.MULTILINE) is not None


#: Settings that the exporter describes, or that mean the same for every provider.
_INHERITED = {*SourceSettings.model_fields, "provider", "name", "url"}


def test_tasks_have_intervals(candidate: Candidate) -> None:
    """Each task has a positive default interval, or `None` if it is off by default."""
    tasks = candidate.provider.settings.TASKS

    assert tasks
    assert all(seconds is None or seconds > 0 for seconds in tasks.values())
    assert {*candidate.provider.spread} <= {*tasks}
