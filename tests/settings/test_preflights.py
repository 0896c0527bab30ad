"""Preflights in the configuration: what is taken, what is shown of it, and every mistake."""

from __future__ import annotations

from datetime import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exporter.config.yaml_file import parse
from exporter.errors import ConfigurationError
from exporter.settings.load import Settings, from_data, load, redacted
from exporter.settings.preflights import PreflightSettings


if TYPE_CHECKING:
    from pathlib import Path


REALLOAD = {
    "provider": "realload",
    "name": "prod",
    "url": "https://portal.example/RemoteUserAPI",
    "auth_token": "CANARY-token",
}
BLAZEMETER = {
    "provider": "blazemeter",
    "name": "bm",
    "api_key_id": "id",
    "api_key_secret": "CANARY-secret",
    "workspaces": [1],
}
EGGPLANT = {
    "provider": "eggplant",
    "name": "egg",
    "url": "https://dai.example",
    "auth": {"token_url": "/auth", "client_id": "client", "client_secret": "CANARY-client"},
}
SOURCES = (REALLOAD, BLAZEMETER, EGGPLANT)

#: A preflight in YAML, as users write it.
WHOLE = """
preflights:
  - name: nightly-checkout
    agents: {source: prod, include: "ubuntu.*", exclude: ".*-old", min_up: 10, max_down: 1}
    clusters: {source: [prod], include: "C1"}
    suites: {source: [prod, bm], include: "Checkout.*"}
    clock: 1s
    users: 5000
    idle: true
    max_age: 3m
    window: {before: "02:00", for: 2h, days: [mon, fri], time_zone: Europe/Zurich}
"""


def made(
    *preflights: Any, sources: tuple[dict[str, Any], ...] = SOURCES, **layers: Any
) -> Settings:
    """Make settings with some preflights."""
    return from_data({"sources": list(sources), "preflights": list(preflights)}, **layers)


def problems(*preflights: Any, **facts: Any) -> list[str]:
    """Return what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        made(*preflights, **facts)
    return list(caught.value.problems)


class TestTaken:
    def test_as_it_is_written(self) -> None:
        """The example of the documentation is understood, each part of it."""
        (found,) = made(*parse(WHOLE.encode(), name="x")["preflights"]).preflights

        assert found.agents
        assert found.clusters
        assert found.suites
        assert found.window
        assert [
            ("prod",),
            ("prod",),
            ("prod", "bm"),
            (10, 1),
            (1.0, 5000, True, 180.0),
            (time(2), 7200.0, ("mon", "fri"), "Europe/Zurich"),
        ] == [
            found.agents.source,
            found.clusters.source,
            found.suites.source,
            (found.agents.min_up, found.agents.max_down),
            (found.clock, found.users, found.idle, found.max_age),
            (
                found.window.before,
                found.window.seconds,
                found.window.days,
                found.window.time_zone,
            ),
        ]

    @pytest.mark.parametrize(
        ("demand", "needed", "tolerated"),
        [
            ({}, 1, 0),
            ({"min_up": 3}, 3, float("inf")),
            ({"max_down": 2}, 1, 2),
            ({"min_up": 3, "max_down": 2}, 3, 2),
            ({"min_up": 0, "max_down": 0}, 0, 0),
        ],
    )
    def test_what_is_demanded(self, demand: dict[str, int], needed: int, tolerated: float) -> None:
        """Without a demand all have to be fit and there has to be one."""
        (found,) = made({"name": "n", "clusters": demand}).preflights

        assert found.clusters
        assert (needed, tolerated) == (found.clusters.needed, found.clusters.tolerated)

    def test_none(self) -> None:
        """Without preflights in the file, there must be none."""
        assert () == from_data({"sources": [REALLOAD]}).preflights

    @pytest.mark.parametrize("source", ["prod", ["prod"], "bm", ["prod", "bm"], []], ids=str)
    def test_sources_that_list_suites(self, source: Any) -> None:
        """BlazeMeter lists none, but they are known by their runs."""
        (found,) = made({"name": "n", "suites": {"source": source}}).preflights

        assert found.suites

    @pytest.mark.parametrize(
        ("name", "taken"),
        [
            ("ubuntu-1", True),
            ("my-ubuntu-1", False),
            ("ubuntu-1-old", False),
            ("windows", False),
            ("ubuntu-2\nin the cellar", True),
        ],
    )
    def test_names_are_matched_as_a_whole(self, name: str, taken: bool) -> None:
        """A name that is both included and excluded must be left out."""
        agents = {"include": "ubuntu.*", "exclude": ".*-old"}
        (found,) = made({"name": "n", "agents": agents}).preflights

        assert found.agents
        assert taken == found.agents.takes("prod", name)

    def test_beside_other_layers(self) -> None:
        """Variables and flags of other settings change nothing of the list."""
        found = made(
            {"name": "n", "agents": {}},
            environ={"LOADFLEET_LOG__LEVEL": "debug"},
            overrides={"log": {"level": "error"}},
        )

        assert ["n"] == [each.name for each in found.preflights]

    def test_with_a_variable_in_a_value(self) -> None:
        """A variable must be resolved in a preflight's values too."""
        (found,) = made(
            {"name": "n", "agents": {"source": "${SOURCE}"}}, environ={"SOURCE": "prod"}
        ).preflights

        assert found.agents
        assert ("prod",) == found.agents.source

    def test_with_a_source_from_the_environment(self) -> None:
        """A preflight may name a source of the environment."""
        environ = {
            "LOADFLEET_REALLOAD_URL": "https://portal.example/RemoteUserAPI",
            "LOADFLEET_REALLOAD_AUTH_TOKEN": "CANARY-token",
        }
        preflight = {"name": "n", "agents": {"source": "realload"}}

        found = from_data({"preflights": [preflight]}, environ=environ)

        assert 1 == len(found.preflights)

    def test_a_change_is_a_change_of_the_configuration(self, tmp_path: Path) -> None:
        """A reload sees that a preflight was added, and which."""
        path = tmp_path / "loadfleet.yml"
        sources = yaml.safe_dump({"sources": list(SOURCES)})
        path.write_text(sources)
        before = load(path, environ={})
        path.write_text(sources + WHOLE)

        after = load(path, environ={})

        assert before.hash != after.hash
        assert [(), ("nightly-checkout",)] == [
            tuple(each.name for each in loaded.settings.preflights) for loaded in (before, after)
        ]


class TestShown:
    def test_as_it_was_written(self) -> None:
        """A shown configuration must mean the same when it is read from a file."""
        settings = made(*parse(WHOLE.encode(), name="x")["preflights"])

        shown = yaml.safe_load(yaml.safe_dump(redacted(settings)["preflights"]))

        assert settings.preflights == made(*shown).preflights
        assert {"before": "02:00", "for": "2h", "days": ["mon", "fri"]}.items() <= (
            shown[0]["window"].items()
        )
        assert ("ubuntu.*", "1s", "3m") == (
            shown[0]["agents"]["include"],
            shown[0]["clock"],
            shown[0]["max_age"],
        )

    def test_a_field_may_have_the_name_of_a_keyword(self) -> None:
        """`for` is a field as any other."""
        window = {"before": "02:00", "for": "30m"}

        found = PreflightSettings.model_validate({"name": "n", "idle": True, "window": window})

        assert found.window
        assert 1800.0 == found.window.seconds


DAYS = "'mon', 'tue', 'wed', 'thu', 'fri', 'sat' or 'sun'"
CHECKS_NOTHING = "checks nothing; give one of agents, clusters, suites, clock, users, idle, max_age"


class TestMistakes:
    @pytest.mark.parametrize(
        ("preflight", "expected"),
        [
            (5, [": must be a mapping of keys to values"]),
            ({"agents": {}}, [".name: is missing; give the preflight a name"]),
            (
                {"name": " n", "agents": {}},
                [".name: must be printable text without spaces at its ends"],
            ),
            ({"name": "n"}, [f": {CHECKS_NOTHING}"]),
            ({"name": "n", "idle": False}, [f": {CHECKS_NOTHING}"]),
            ({"name": "n", "window": {"before": "02:00"}}, [f": {CHECKS_NOTHING}"]),
            (
                {"name": "n", "clock": "1"},
                [".clock: has no unit; write a duration such as 90s, 5m or 1h30m"],
            ),
            ({"name": "n", "agent": {}}, [".agent: unknown key; did you mean agents?"]),
            ({"name": "n", "agents": 5}, [".agents: must be a mapping of keys to values"]),
            ({"name": "n" * 101, "users": 1}, [".name: must not be longer than 100 characters"]),
            ({"name": "n", "users": 0}, [".users: must be at least 1"]),
            ({"name": "n", "users": "many"}, [".users: must be a whole number"]),
            ({"name": "n", "idle": "yes"}, [".idle: must be true or false"]),
            ({"name": "n", "max_age": "0s"}, [".max_age: must be longer than 0"]),
            (
                {"name": "n", "agents": {"min_up": -1, "max_down": 1.5, "min": 3}},
                [
                    ".agents.min_up: must be at least 0",
                    ".agents.max_down: must be a whole number",
                    ".agents.min: unknown key; did you mean min_up?",
                ],
            ),
            *(
                (
                    {"name": "n", "suites": {"slower_than_usual": wrong}},
                    [".suites.slower_than_usual: must be a number"],
                )
                for wrong in (True, "twice")
            ),
            (
                {"name": "n", "suites": {"min_up": 1}},
                [".suites.min_up: unknown key; remove it"],
            ),
            (
                {"name": "n", "agents": {"include": "("}},
                [
                    (
                        ".agents.include: is not a regular expression;"
                        " escape literal characters with \\"
                    )
                ],
            ),
        ],
    )
    def test_name_place_and_remedy(self, preflight: Any, expected: list[str]) -> None:
        """A mistake must be reported once, with its place in the list."""
        found = problems({"name": "good", "agents": {}}, preflight)

        assert [f"preflights[1]{each}" for each in expected] == found

    @pytest.mark.parametrize(
        ("window", "expected"),
        [
            ({}, ['before: is missing; write the start of the test, such as "02:00"']),
            (
                {"before": None},
                ['before: is missing; write the start of the test, such as "02:00"'],
            ),
            *(
                ({"before": wrong}, ['before: must be a time of day in quotes, such as "02:00"'])
                for wrong in ("24:00", "2:00", "02:60", "02:00:00", "noon", 1320, "")
            ),
            ({"before": "02:00", "for": "0s"}, ["for: must be longer than 0"]),
            (
                {"before": "02:00", "for": "86401s"},
                ["for: is longer than a day; windows of two days must not overlap"],
            ),
            ({"before": "02:00", "days": []}, ["days: names no day; leave it out for every day"]),
            ({"before": "02:00", "days": "mon"}, ["days: must be a list; write it in brackets"]),
            (
                {"before": "02:00", "days": ["mo"]},
                [f"days[0]: must be {DAYS}; did you mean mon?"],
            ),
            (
                {"before": "02:00", "time_zone": "europe/zurik"},
                ["time_zone: is no time zone; did you mean Europe/Zurich?"],
            ),
            *(
                (
                    {"before": "02:00", "time_zone": wrong},
                    ["time_zone: is no time zone; write one such as Europe/Zurich"],
                )
                for wrong in ("", "../../etc/passwd", "\0")
            ),
            ({"before": "02:00", "time_zone": 1}, ["time_zone: must be text; put it in quotes"]),
        ],
    )
    def test_of_a_window(self, window: dict[str, Any], expected: list[str]) -> None:
        """Each part of a window must be reported by itself."""
        found = problems({"name": "n", "agents": {}, "window": window})

        assert [f"preflights[0].window.{each}" for each in expected] == found

    @pytest.mark.parametrize("given", [{"name": "n"}, "nightly", None])
    def test_no_list(self, given: Any) -> None:
        """A preflight that is not in a list must be refused."""
        with pytest.raises(ConfigurationError) as caught:
            from_data({"sources": [REALLOAD], "preflights": given})

        assert ("preflights: must be a list; begin each preflight with a dash",) == tuple(
            caught.value.problems
        )

    def test_two_of_one_name(self) -> None:
        """Each name is a label, so each is there once."""
        nightly = {"name": "nightly", "agents": {}}

        found = problems(nightly, nightly, nightly)

        text = "name: another preflight has this name; give each its own"
        assert [f"preflights[1].{text}", f"preflights[2].{text}"] == found

    def test_on_a_shard(self) -> None:
        """A shard knows a part of the fleet, which may be fit while the rest is not."""
        found = problems({"name": "n", "agents": {}}, overrides={"sharding": {"total_shards": 2}})

        text = "need the whole fleet, but a shard polls only a part of it; remove them here"
        assert [f"preflights: {text}, and use an exporter without shards"] == found

    def test_of_what_is_usual_without_a_history(self) -> None:
        """A comparison with usual values must be refused without a history."""
        slow = {"name": "n", "suites": {"slower_than_usual": 1.5}}

        found = problems(slow, overrides={"history": {"keep": "off"}})

        place = "preflights[0].suites.slower_than_usual"
        text = "cannot be checked without a history; leave it out, or give history.keep"
        assert [f"{place}: {text}"] == found

    def test_in_the_environment(self) -> None:
        """A list is not given by a variable."""
        found = problems({"name": "n", "agents": {}}, environ={"LOADFLEET_PREFLIGHTS": "[]"})

        assert ["LOADFLEET_PREFLIGHTS: unknown variable; remove it"] == found


class TestSources:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("prd", ["source: no source has this name; did you mean prod?"]),
            (["prd"], ["source: no source has this name; did you mean prod?"]),
            (
                ["prod", "bm", "xyz"],
                ["source[2]: no source has this name; write one of prod, bm, egg"],
            ),
            ("", ["source: no source has this name; write one of prod, bm, egg"]),
            (5, ["source[0]: must be text; put it in quotes"]),
            ({"prod": "bm"}, ["source: must be a list; write it in brackets"]),
            # The other names are not checked until the list is right.
            ([5, "prd"], ["source[0]: must be text; put it in quotes"]),
        ],
    )
    def test_that_are_unknown(self, source: Any, expected: list[str]) -> None:
        """An unknown source must be answered with the nearest one, or all of them."""
        found = problems({"name": "n", "agents": {"source": source}, "max_age": "1m"})

        assert [f"preflights[0].agents.{each}" for each in expected] == found

    @pytest.mark.parametrize(
        ("kind", "source", "tasks"),
        [
            ("clusters", "egg", {}),
            ("clusters", "bm", {}),
            ("suites", "egg", {}),
            ("agents", "prod", {"agents": "off"}),
            ("suites", "prod", {"suites": "off"}),
        ],
    )
    def test_that_do_not_list_the_kind(self, kind: str, source: str, tasks: dict[str, str]) -> None:
        """A source that does not list the kind must be refused: the check could never pass."""
        preflight = {"name": "n", kind: {"source": [source]}}

        found = problems(preflight, sources=({**REALLOAD, "tasks": tasks}, BLAZEMETER, EGGPLANT))

        remedy = "name another source, or enable the task that lists them"
        assert [f"preflights[0].{kind}.source: {source} lists no {kind}; {remedy}"] == found

    @pytest.mark.parametrize(
        ("wrong", "expected"),
        [
            (
                {"name": " prd"},
                "sources[0].name: must be printable text without spaces at its ends",
            ),
            (
                {"provider": "realod"},
                "sources[0].provider: unknown provider; did you mean realload?",
            ),
            ({"name": "prd", "tasks": 5}, "sources[0].tasks: must be a mapping of keys to values"),
        ],
    )
    def test_that_are_wrong_themselves(self, wrong: dict[str, Any], expected: str) -> None:
        """A mistake in a source must not be reported again for the preflights that name it."""
        found = problems(
            {"name": "n", "agents": {"source": "prd"}}, sources=({**REALLOAD, **wrong},)
        )

        assert [expected] == found

    def test_of_which_something_else_is_wrong(self) -> None:
        """All mistakes must be reported at once."""
        sources = ({**REALLOAD, "auth_token": ""},)

        found = problems({"name": "n", "agents": {"source": "prd"}}, sources=sources)

        assert [
            "sources[0].auth_token: is empty; give it, or auth_token_file",
            "preflights[0].agents.source: no source has this name; did you mean prod?",
        ] == found

    @pytest.mark.parametrize(
        ("preflight", "expected"),
        [
            ({"agents": {}}, ["agents of prod, 1m", "agents of bm, 1m"]),
            ({"clock": "1s"}, ["agents of prod, 1m", "agents of bm, 1m"]),
            ({"agents": {"source": "egg"}}, []),
            ({"suites": {"source": "bm"}}, ["runs of bm, 1m"]),
            (
                {"suites": {"source": "prod"}, "clusters": {}},
                ["clusters of prod, 1m", "suites of prod, 5m"],
            ),
        ],
    )
    def test_that_are_polled_more_rarely_than_readings_may_be_old(
        self, preflight: dict[str, Any], expected: list[str]
    ) -> None:
        """A `max_age` shorter than the interval of a chosen task must be refused."""
        sources = (
            {**REALLOAD, "tasks": {"suites": "5m"}},
            BLAZEMETER,
            {**EGGPLANT, "interval": "30s"},
        )
        settings = {"name": "n", "max_age": "59s", **preflight}

        found = problems(settings, {"agents": {}}, sources=sources)

        text = "preflights[0].max_age: is shorter than the interval of"
        assert [f"{text} {each}; raise it" for each in expected] == found[:-1]

    def test_of_which_there_are_none(self) -> None:
        """A configuration without sources must have that as its only mistake."""
        found = problems({"name": "n", "agents": {"source": "prod"}}, sources=())

        assert ["sources"] == [each.partition(":")[0] for each in found]
