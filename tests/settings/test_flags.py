from __future__ import annotations

import argparse

import pytest

from exporter.errors import ConfigurationError
from exporter.settings import flags
from exporter.settings.flags import Flag, overrides


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
        """A flag's environment variable must be named after the flag."""
        assert "LOADFLEET_WEB_LISTEN_ADDRESS" == LISTEN.environment

    def test_the_flag_goes_over_its_twin(self) -> None:
        """A flag must take precedence over its environment variable."""
        given = LEVEL.value(parsed("--log.level=debug"), {"LOADFLEET_LOG_LEVEL": "info"})

        assert "debug" == given

    def test_the_twin_counts_without_the_flag(self) -> None:
        """A container is configured by its environment."""
        assert "info" == LEVEL.value(parsed(), {"LOADFLEET_LOG_LEVEL": "info"})

    def test_a_repeatable_twin_is_split(self) -> None:
        """A variable cannot be given twice."""
        given = LISTEN.value(parsed(), {"LOADFLEET_WEB_LISTEN_ADDRESS": "a:1, b:2"})

        assert ["a:1", "b:2"] == given

    @pytest.mark.parametrize(
        ("text", "expected"), [("true", True), ("1", True), ("False", False), ("0", False)]
    )
    def test_a_boolean_twin_is_read(self, text: str, expected: bool) -> None:
        """A switch must be possible by environment as well."""
        assert expected is CHECK.value(parsed(), {"LOADFLEET_CONFIG_CHECK": text})

    @pytest.mark.parametrize("text", ["yes", "on", "maybe", " "])
    def test_a_boolean_twin_that_says_neither_is_a_mistake(self, text: str) -> None:
        """A boolean variable must refuse any other text than true or false, instead of guessing."""
        with pytest.raises(ConfigurationError) as caught:
            CHECK.value(parsed(), {"LOADFLEET_CONFIG_CHECK": text})

        assert ("LOADFLEET_CONFIG_CHECK: must be true or false",) == caught.value.problems

    @pytest.mark.parametrize("environ", [{}, dict.fromkeys(flags.ENVIRONMENT, "")])
    def test_nothing_given_is_none(self, environ: dict[str, str]) -> None:
        """The file and the defaults must not be overridden by a flag nobody used."""
        assert {} == overrides((LEVEL, LISTEN, CHECK), parsed(), environ)


class TestOverrides:
    def test_they_are_nested_as_in_the_file(self) -> None:
        """Flags are one more layer over the configuration file."""
        found = overrides(
            (LEVEL, LISTEN), parsed("--web.listen-address=a:1", "--log.level=info"), {}
        )

        assert {"web": {"listen_address": ["a:1"]}, "log": {"level": "info"}} == found

    def test_every_twin_that_cannot_be_read_is_named(self) -> None:
        """All variables of flags that cannot be read must be reported at once."""
        environ = {"LOADFLEET_WEB_ENABLE_LIFECYCLE": "yes", "LOADFLEET_WEB_SYSTEMD_SOCKET": "on"}

        with pytest.raises(ConfigurationError) as caught:
            overrides(flags.DAEMON, parsed(), environ)

        assert {f"{name}: must be true or false" for name in environ} == set(caught.value.problems)


def test_no_two_flags_share_a_name() -> None:
    """A twin that means two things would set both."""
    names = [each.environment for flag in flags.ALL for each in (flag, flag.old) if each]

    assert len(flags.ENVIRONMENT) == len(names)
