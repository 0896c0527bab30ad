from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.commands.parser import Parser
from exporter.commands.selection import Selection, add_arguments, selected
from exporter.fleet.kinds import Kind
from exporter.overview.filters import State
from exporter.overview.problems import Problem
from exporter.overview.rows import AgentRow, Condition
from exporter.sources.realload.settings import RealLoadSettings


if TYPE_CHECKING:
    import argparse


def source(name: str, **labels: str) -> RealLoadSettings:
    return RealLoadSettings.model_construct(name=name, url="", labels=labels)


FLEET = (source("prod", site="bern"), source("lab", site="basel"), source("north, old"))


def select(*flags: str) -> tuple[Selection, tuple[str, ...]]:
    parser = Parser()
    add_arguments(parser)
    arguments: argparse.Namespace = parser.parse_args(flags)
    return selected(arguments, FLEET)


class TestSelected:
    @pytest.mark.parametrize(
        "flag", ["--source=", "--label=site=", "--kind=", "--state=,", "--group-by="]
    )
    def test_a_value_that_is_missing_does_not_choose_all(self, flag: str) -> None:
        """An empty value, as of an unset variable, must be refused and not select everything."""
        _, mistakes = select(flag)

        assert (f"{flag.rstrip(',')} has no value",) == mistakes

    def test_without_flags_it_is_all(self) -> None:
        """Without flags, everything must be selected."""
        chosen, mistakes = select()

        assert ((), None, False, "") == (
            mistakes,
            chosen.sources,
            chosen.picks_rows,
            chosen.told,
        )

    @pytest.mark.parametrize(
        ("flags", "expected"),
        [
            (["--source=prod", "--source=lab"], {"prod", "lab"}),
            (["--source=prod,lab"], {"prod", "lab"}),
            (["--source=north, old"], {"north, old"}),
            (["--label=site=bern"], {"prod"}),
            (["--label=site=bern", "--label=site=basel"], {"prod", "lab"}),
            (["--label=site=bern", "--source=prod,lab"], {"prod"}),
        ],
    )
    def test_sources_are_chosen_by_name_and_label(
        self, flags: list[str], expected: set[str]
    ) -> None:
        """Values of one flag must be alternatives, and different flags must all match."""
        chosen, mistakes = select(*flags)

        assert ((), frozenset(expected)) == (mistakes, chosen.sources)

    @pytest.mark.parametrize(
        ("flags", "expected"),
        [
            (["--label=site"], "--label must be NAME=VALUE, such as site=zurich; not 'site'"),
            (
                ["--label=sit=bern"],
                (
                    "--label sit is no label of a source; there are: --label site"
                    "; did you mean --label site?"
                ),
            ),
            (
                ["--label=site=brn"],
                "--label site must be one of: basel, bern; did you mean bern?",
            ),
            (
                ["--source=prod", "--label=site=basel"],
                "no source matches all of --source and --label",
            ),
            (
                ["--group-by=sit"],
                "--group-by must be one of: source, provider, site; did you mean site?",
            ),
        ],
    )
    def test_a_mistake_names_its_flag(self, flags: list[str], expected: str) -> None:
        """The message is about what was typed, with what there is."""
        assert (expected,) == select(*flags)[1]

    def test_states_are_the_boards(self) -> None:
        """Several of them are separated by commas."""
        chosen, _ = select("--state=outdated,down")

        assert {State.OUTDATED, State.DOWN} == chosen.filters.states


class TestSelection:
    @pytest.mark.parametrize(
        ("flags", "facts", "expected"),
        [
            ([], {"kind": "run"}, True),
            (["--kind=suite"], {"kind": "agent", "id": "1"}, False),
            (["--kind=agent"], {"kind": "agent", "id": "gone"}, True),
            (["--state=up"], {"kind": "agent", "id": "gone"}, False),
            (["--state=up"], {"kind": "agent", "id": "1"}, True),
            (["--state=up"], {"kind": ""}, True),
            (["--source=lab"], {"kind": ""}, False),
            (["--source=lab"], {"kind": "", "source": ""}, True),
            (["--source=lab"], {"source": "", "labels": {"preflight": "nightly"}}, False),
            (["--state=up"], {"source": "", "labels": {"preflight": "nightly"}}, True),
        ],
    )
    def test_problems_are_those_of_what_is_shown(
        self, flags: list[str], facts: dict[str, Any], expected: bool
    ) -> None:
        """Problems must follow the chosen targets; one without a target follows its source."""
        chosen, _ = select(*flags)
        known: dict[str, Any] = {"alert": "x", "severity": "warning", "description": ""}
        problem = Problem(**{**known, "source": "prod", **facts})
        row = AgentRow(
            kind=Kind.AGENT, id="1", name="", provider="", source="prod", state=Condition.UP
        )

        assert expected is bool(list(chosen.problems([problem], filter(chosen.shows(), [row]))))
