"""Every reason for which a plug-in is left out, without harm to others."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pytest

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Agent, Reading
from exporter.sources import plugins
from exporter.sources.base import Poll
from exporter.sources.registry import BUILT_IN
from tests.support.plugins import RECORD, install


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder in which Python finds packages, and forget its modules afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for module in [each for each in sys.modules if each.partition(".")[0] == "acme"]:
        del sys.modules[module]


def problem(record: str, folder: Path, *, name: str = "acme") -> str:
    """Return why a plug-in is left out; empty if it is not."""
    install(folder, record=record, name=name)
    found, broken = plugins.load(BUILT_IN)
    assert bool(found) != bool(broken)
    return "".join(each.problem for each in broken)


def test_takes_one_that_is_well(folder: Path) -> None:
    """A plug-in must be found by its entry point, with its package's name and version."""
    install(folder)

    found, broken = plugins.load(BUILT_IN)

    assert () == broken
    assert {"acme": "acme-load 1.2"} == {name: each.package for name, each in found.items()}
    assert ["loadfleet_acme_agent_heat_celsius"] == [
        family.name for family in plugins.families(found["acme"].provider.mappings)
    ]


LABELS = "labels that no other family has: flavour"

PROBLEMS = [
    ("ACME = Provider(", "OTHER = Provider(", "acme:ACME cannot be loaded (AttributeError)"),
    (
        "from typing",
        "import nowhere\nfrom typing",
        "acme:ACME cannot be loaded (ModuleNotFoundError)",
    ),
    ("from typing", "raise SystemExit('canary')\nfrom typing", "cannot be loaded (SystemExit)"),
    ("from typing", "raise ValueError('canary')\nfrom typing", "cannot be loaded (ValueError)"),
    ("from typing", "this is no Python\nfrom typing", "acme:ACME cannot be loaded (SyntaxError)"),
    ("ACME = Provider(", "ACME = dict(", "the entry point does not refer to a Provider"),
    ('name="acme",\n    settings', 'name="other",\n    settings', "record has the name 'other'"),
    ("settings=Settings", "settings=dict", "its settings are not a subclass of SourceSettings"),
    ("settings=Settings", "settings=None", "its settings are not a subclass of SourceSettings"),
    (
        'provider: Literal["acme"] = "acme"',
        'provider: Literal["x"] = "x"',
        "the default of `provider` in its settings must be 'acme'",
    ),
    ('kinds=("agent",)', 'kinds=("agent", "oven")', "these kinds are unknown: oven"),
    ('kinds=("agent",)', "kinds=5", "cannot be loaded (TypeError)"),
    (
        'family("acme", "agent_heat',
        'family("realload", "agent_heat',
        "must begin with loadfleet_acme_",
    ),
    ('"agent_heat_celsius"', '"agent heat"', "must begin with loadfleet_acme_"),
    ("machine is.", "machine is", "help of loadfleet_acme_agent_heat_celsius is not a sentence"),
    ('is.", of', 'is.", "flavour", of', LABELS),
    ('number(HEAT, "heat")', 'number(HEAT, "heat"), number(HEAT, "heat")', "is filled twice"),
    ('number(HEAT, "heat")', 'number(HEAT, "fever")', "cannot be loaded (AttributeError)"),
    (
        'mapped(("agent_id", "agent")',
        'mapped(("agent_id", "oven")',
        "cannot be loaded (AttributeError)",
    ),
    (
        'mapped(("agent_id", "agent")',
        'mapped(("agent", "agent_id")',
        "are not those of its mapping",
    ),
    (", of=Kind.AGENT", "", "the labels of loadfleet_acme_agent_heat_celsius are not those of its"),
    ('is.", of', 'is.", "reason", of', "are not those of its mapping"),
    ("mappings={Load:", "mappings={Agent:", "it maps Agent, which is a reading of the exporter"),
    ("mappings={Load:", "mappings={int:", "cannot be loaded (TypeError)"),
]


@pytest.mark.parametrize(("old", "new", "expected"), PROBLEMS)
def test_names_what_is_wrong(old: str, new: str, expected: str, folder: Path) -> None:
    """A broken plug-in must be left out with one sentence that quotes nothing it has read."""
    assert old in RECORD
    record = RECORD.replace(old, new).replace("    BasicSettings,", "    Agent, BasicSettings,")

    found = problem(record, folder)

    assert expected in found
    assert "canary" not in found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("realload", "the name is taken; two providers cannot share one"),
        ("agent", "its name must be lower-case letters and digits, not a metric's first word"),
        ("exporter", "its name must be lower-case letters and digits, not a metric's first word"),
        ("ac-me", "its name must be lower-case letters and digits, not a metric's first word"),
        ("ac_me", "its name must be lower-case letters and digits, not a metric's first word"),
        ("Acme", "its name must be lower-case letters and digits, not a metric's first word"),
    ],
)
def test_refuses_a_name(name: str, expected: str, folder: Path) -> None:
    """A name that is taken, or whose metrics could collide, must be refused."""
    record = RECORD.replace('"acme"', f'"{name}"')

    assert expected == problem(record, folder, name=name)


def test_a_broken_one_costs_no_other(folder: Path) -> None:
    """A broken plug-in must cost no other; of two with one name, the first counts."""
    install(folder)
    (point,) = entry_points(group=plugins.GROUP)
    gone = EntryPoint("gone", "acme.nowhere:GONE", plugins.GROUP)

    found, broken = plugins.load(BUILT_IN, [gone, point, point])

    assert ["acme"] == list(found)
    second, first = map(str, broken)
    assert (
        "the provider 'gone' is left out: acme.nowhere:GONE cannot be loaded (ModuleNotFoundError);"
        " install a version that fits this exporter, or remove it"
    ) == first
    assert (
        "the provider 'acme' of acme-load 1.2 is left out: the name is taken; two providers cannot"
        " share one"
    ) == second


def agent(**fields: Any) -> Agent:
    """Make a reading, with whatever stands in its fields."""
    return Agent(**{"agent_id": "a", "agent": "a", "active": True, **fields})


class Stray(Reading, frozen=True, kw_only=True):
    """A reading that nothing maps."""


@pytest.mark.parametrize(
    ("reading", "error"),
    [
        (Stray(), "Stray cannot be shown (KeyError)"),
        (agent(active="canary"), "Agent cannot be shown (ValueError)"),
        (agent(agent=5), "Agent cannot be shown (AttributeError)"),
        (agent(agent="\ud800"), "Agent cannot be shown (UnicodeEncodeError)"),
        (agent(last_up_timestamp_seconds=10**400), "Agent cannot be shown (OverflowError)"),
        ("canary", "str cannot be shown (KeyError)"),
    ],
)
def test_refuses_what_cannot_be_shown(reading: Any, error: str) -> None:
    """A reading that cannot be rendered must be refused: it would cost all pages."""
    with pytest.raises(PollError) as caught:
        plugins.check(Poll(readings=(agent(), reading)))

    assert Reason.DECODE == caught.value.reason
    assert error in str(caught.value)
    assert "canary" not in repr((caught.value, caught.value.__context__))


@pytest.mark.parametrize("name", ["locust", "selenium"])
def test_the_exporters_own_would_be_taken(name: str) -> None:
    """The built-in generators must keep all rules of plug-ins but that of their place."""
    provider = BUILT_IN[name]

    assert [] == list(plugins._family_problems(provider))
    assert [] == [
        each for each in plugins._mapping_problems(provider) if "of the exporter" not in each
    ]
