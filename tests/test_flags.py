from __future__ import annotations

import argparse

import pytest

from exporter import flags
from exporter.flags import Flag, overrides


LEVEL = Flag(name="log.level", help="level", setting=("log", "level"), choices=("debug", "info"))
LISTEN = Flag(
    name="web.listen-address", help="address", setting=("web", "listen_address"), repeatable=True
)
CHECK = Flag(name="config.check", help="check", boolean=True)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for flag in (LEVEL, LISTEN, CHECK):
        flag.add_to(parser)
    return parser.parse_args(arguments)


class TestFlag:
    def test_its_twin_is_named_after_it(self) -> None:
        """Whoever knows the flag must be able to guess the variable."""
        assert "LOADFLEET_WEB_LISTEN_ADDRESS" == LISTEN.environment

    def test_the_flag_goes_over_its_twin(self) -> None:
        """What is typed now counts more than what was set once."""
        given = LEVEL.value(parsed("--log.level=debug"), {"LOADFLEET_LOG_LEVEL": "info"})

        assert "debug" == given

    def test_the_twin_counts_without_the_flag(self) -> None:
        """A container is configured by its environment."""
        assert "info" == LEVEL.value(parsed(), {"LOADFLEET_LOG_LEVEL": "info"})

    def test_a_repeatable_twin_is_split(self) -> None:
        """A variable cannot be given twice."""
        given = LISTEN.value(parsed(), {"LOADFLEET_WEB_LISTEN_ADDRESS": "a:1, b:2"})

        assert ["a:1", "b:2"] == given

    @pytest.mark.parametrize(("text", "expected"), [("true", True), ("1", True), ("false", False)])
    def test_a_boolean_twin_is_read(self, text: str, expected: bool) -> None:
        """A switch must be possible by environment as well."""
        assert expected is CHECK.value(parsed(), {"LOADFLEET_CONFIG_CHECK": text})

    def test_nothing_given_is_none(self) -> None:
        """The file and the defaults must not be overridden by a flag nobody used."""
        assert {} == overrides((LEVEL, LISTEN, CHECK), parsed(), {})


class TestOverrides:
    def test_they_are_nested_as_in_the_file(self) -> None:
        """Flags are one more layer over the configuration file."""
        found = overrides(
            (LEVEL, LISTEN), parsed("--web.listen-address=a:1", "--log.level=info"), {}
        )

        assert {"web": {"listen_address": ["a:1"]}, "log": {"level": "info"}} == found


def test_no_two_flags_share_a_name() -> None:
    """A twin that means two things would set both."""
    assert len(flags.ENVIRONMENT) == len(flags.ALL)
