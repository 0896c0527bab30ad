"""Every part of the exporter that depends on a target's kind must know all kinds of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from exporter.clock import Moment
from exporter.fleet import readings as r
from exporter.fleet.changes import changes
from exporter.fleet.kinds import EXPLAINED, LISTED, Kind, by_task, target_of
from exporter.fleet.recent import Recent
from exporter.fleet.store import Snapshot
from exporter.overview.build import target_rows
from exporter.sources.registry import PROVIDERS
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.sources.base import Provider


#: Readings about no single target.
UNTARGETED = {
    r.Account,
    r.AgentJobs,
    r.Certificate,
    r.MinVersion,
    r.SourceHealth,
    r.Target,
    r.TaskHealth,
    r.Template,
}

#: Tasks that list no targets.
OTHER_TASKS = {"certificates", "jobs", "templates", "versions"}

NOW = Moment(unix=1_700_000_000.0, monotonic=1_000.0)


def made(kind: Kind) -> r.Reading:
    """Return the least that can be known of a target."""
    fields = msgspec.structs.fields(kind.reading)
    facts: dict[str, Any] = {field.name: field.name for field in fields if field.required}
    reading = kind.reading(**facts)
    assert isinstance(reading, r.Reading)
    return reading


def snapshot(reading: r.Reading) -> Snapshot:
    return Snapshot(
        provider="realload",
        source="prod",
        task="task",
        readings=(reading,),
        taken=NOW,
        stale_after=180.0,
    )


def subclasses(base: type[r.Reading]) -> Iterator[type[r.Reading]]:
    for each in base.__subclasses__():
        yield each
        yield from subclasses(each)


def test_each_reading_of_a_target_is_in_the_table() -> None:
    """A new kind of target that is not in the table would be shown nowhere."""
    known = {each for each in subclasses(r.Reading) if each.__module__ == r.__name__}

    assert {kind.reading for kind in Kind} - {r.Member} == known - UNTARGETED


@pytest.mark.parametrize("kind", Kind)
def test_id_and_name_are_fields(kind: Kind) -> None:
    """A kind's id field and name field must be fields of its reading."""
    assert {kind.id_field, kind.name_field} <= set(kind.reading.__struct_fields__)


@pytest.mark.parametrize("kind", EXPLAINED)
def test_a_target_is_found_by_its_reading(kind: Kind) -> None:
    """Kind and id lead to the target, on the pages and in the history."""
    assert (kind, kind.id_field) == target_of(made(kind))


def test_other_readings_are_about_no_target() -> None:
    """The account is no target."""
    assert target_of(r.Account()) is None


def test_providers_have_kinds_of_the_table_only() -> None:
    """A kind that a provider can explain is known to the pages, and none is without a provider."""
    offered = {kind for provider in PROVIDERS.values() for kind in provider.kinds}

    assert set(EXPLAINED) == offered


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_each_listed_kind_of_a_provider_is_listed_by_one_task(provider: Provider) -> None:
    """The number of its targets is shown, also when it is 0."""
    found = by_task(provider.kinds, provider.settings.TASKS)

    kinds = [kind for each in found.values() for kind in each]
    assert sorted(kind for kind in LISTED if kind in provider.kinds) == sorted(kinds)


def test_a_task_that_is_off_lists_nothing_under_another() -> None:
    """A task that is off must not be said to list its kinds, nor another task in its place."""
    found = by_task(("agent", "location", "run", "suite"), ("runs",))

    assert {"runs": (Kind.SUITE,)} == found


def test_filters_of_sources_are_plurals_of_the_table() -> None:
    """A source's filters must be called by the plurals of their kinds."""
    filters = {name for provider in PROVIDERS.values() for name in provider.settings.FILTERS}

    assert filters - OTHER_TASKS <= {f"{kind}s" for kind in Kind}


def test_each_task_lists_a_kind_or_no_target() -> None:
    """A task that lists targets must be called by their plural."""
    tasks = {task for provider in PROVIDERS.values() for task in provider.settings.TASKS}

    assert {kind.task for kind in Kind} == tasks - OTHER_TASKS


@pytest.mark.parametrize("kind", LISTED)
def test_each_listed_kind_has_rows(kind: Kind) -> None:
    """A target of a listed kind must have a row on the board."""
    (row,) = target_rows([snapshot(made(kind))], NOW)

    assert (kind, kind.id_field, kind.name_field) == (row.kind, row.id, row.name)


@pytest.mark.parametrize("kind", LISTED)
async def test_each_listed_kind_has_a_history(kind: Kind) -> None:
    """A target of a listed kind must have a history, even an empty one."""
    history = Recent()
    history.take(snapshot(made(kind)))

    await history.catch_up()

    assert history.of("realload", "prod", kind, kind.id_field) is not history.of("", "", kind, "")


@pytest.mark.parametrize("kind", [kind for kind in Kind if issubclass(kind.reading, r.Target)])
async def test_each_machine_that_goes_is_a_change(kind: Kind) -> None:
    """A machine that left the inventory is found in the log, whatever its kind."""
    found = [change async for change in changes([made(kind)], [])]

    assert [("gone", kind)] == [(change.what, change.kind) for change in found]


@pytest.mark.parametrize("kind", [kind for kind in Kind if issubclass(kind.reading, r.Target)])
async def test_each_machine_can_be_discovered(kind: Kind) -> None:
    """Every kind that has a host must have a path for Prometheus' service discovery."""
    async with fakes.browsing(fakes.FakeView()) as client:
        answer = await client.get(f"/sd/{kind.task}")

    assert 200 == answer.status_code


@pytest.mark.parametrize("kind", EXPLAINED)
async def test_each_explained_kind_can_be_probed(kind: Kind) -> None:
    """A kind that a source explains is no unknown one for a probe."""
    async with fakes.browsing(fakes.FakeView(made(kind))) as client:
        answer = await client.get(f"/probe?source=prod&kind={kind}&id={kind.id_field}")

    assert 200 == answer.status_code
