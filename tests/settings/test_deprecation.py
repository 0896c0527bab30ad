"""Names that were replaced: both work, and the old one causes a warning."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import yaml

from exporter.commands import check
from exporter.config.validation import known_keys
from exporter.errors import ConfigurationError
from exporter.settings.deprecation import RENAMED, Renamed
from exporter.settings.flags import Flag, overrides, warnings
from exporter.settings.load import Loaded, configure_for, load
from exporter.settings.sections import SECTIONS
from exporter.sources.registry import PROVIDERS


TABLE = (
    Renamed("log.lvl", "log.level", "0.2"),
    Renamed("alerting.limits", "alerting.thresholds", "0.2"),
    Renamed("realload.token", "realload.auth_token", "0.9"),
    Renamed("defaults.pace", "defaults.interval", "1.3"),
)
LEVEL = Flag(name="log.level", help="level", setting=("log", "level"), former=("log.lvl", "0.2"))
SOURCE = {"provider": "realload", "url": "https://portal.example", "auth_token": "CANARY"}
LOG = "`log.lvl` is deprecated since 0.2 and will be removed in 0.4; write `log.level`"


def loaded(environ: dict[str, str] | None = None, **data: Any) -> Loaded:
    """Load a file and variables that may use the table's old names."""
    content = yaml.safe_dump({"sources": [SOURCE]} | data).encode()
    return load(None, content=content, environ=environ or {}, renamed=TABLE)


def problems(environ: dict[str, str] | None = None, **data: Any) -> list[str]:
    """Return what is wrong with them."""
    with pytest.raises(ConfigurationError) as caught:
        loaded(environ, **data)
    return list(caught.value.problems)


class TestFile:
    def test_an_old_name_works_and_is_told(self) -> None:
        """An upgrade must not stop the monitoring, nor pass unnoticed."""
        found = loaded(log={"lvl": "warn"})

        assert ("warn", (LOG,)) == (found.settings.log.level, found.warnings)

    def test_a_whole_section_can_have_an_old_name(self) -> None:
        """Settings in a section of an old name must move to the new section."""
        found = loaded(alerting={"limits": {"clock_skew": "7s"}})

        assert 7.0 == found.settings.alerting.thresholds.clock_skew
        assert 1 == len(found.warnings)

    def test_an_old_name_in_a_source_works_and_is_told_with_its_place(self) -> None:
        """Sources are many, and each is named."""
        old = {"provider": "realload", "url": "https://test.example", "name": "test", "token": "x"}

        found = loaded(sources=[SOURCE, old])

        assert "x" == next(found.settings.sources[1].secrets()).reveal()
        (warning,) = found.warnings
        assert (
            "`sources[1].token` is deprecated since 0.9 and will be removed in 0.11;"
            " write `sources[1].auth_token`"
        ) == warning

    def test_what_every_source_inherits_has_its_old_name_in_each(self) -> None:
        """A source may say everything that `defaults` may."""
        found = loaded(defaults={"pace": "90s"}, sources=[SOURCE | {"pace": "40s"}])

        assert (90.0, 40.0) == (
            found.settings.defaults.interval,
            found.settings.sources[0].interval,
        )
        assert ["`defaults.pace`", "`sources[0].pace`"] == [
            text.partition(" is deprecated since 1.3 and will be removed in 1.5")[0]
            for text in found.warnings
        ]

    def test_both_names_at_once_are_a_mistake(self) -> None:
        """The old and the new name together must be refused."""
        assert [
            "log.lvl: is the old name of log.level, which is given as well; remove one of the two"
        ] == problems(log={"lvl": "warn", "level": "info"})

    def test_a_mistake_is_told_by_the_name_that_was_used(self) -> None:
        """A mistake must be named by the name the user wrote, new or old."""
        assert [
            "alerting.limits.clock_skew: is not a duration; write one such as 90s, 5m or 1h30m",
            "log.lvl: must be 'debug', 'info', 'warn' or 'error'",
        ] == problems(log={"lvl": "CANARY"}, alerting={"limits": {"clock_skew": "CANARY"}})

    @pytest.mark.parametrize("log", [5, ["lvl"], {"lvl": {"deep": 1}}])
    def test_what_is_of_another_shape_is_a_mistake_as_ever(self, log: Any) -> None:
        """A table of names must not be a way around the checks."""
        assert ["log"] == [text[:3] for text in problems(log=log)]


class TestEnvironment:
    @pytest.mark.parametrize(
        ("old", "new", "text"),
        [
            ("LOADFLEET_LOG__LVL", "LOADFLEET_LOG__LEVEL", "warn"),
            (
                "LOADFLEET_ALERTING__LIMITS__CLOCK_SKEW",
                "LOADFLEET_ALERTING__THRESHOLDS__CLOCK_SKEW",
                "7s",
            ),
            ("LOADFLEET_DEFAULTS__PACE", "LOADFLEET_DEFAULTS__INTERVAL", "90s"),
        ],
    )
    def test_an_old_variable_does_what_the_new_one_does(
        self, old: str, new: str, text: str
    ) -> None:
        """The variable of a setting is renamed with it."""
        by_old, by_new = loaded({old: text}), loaded({new: text})

        assert by_new.settings == by_old.settings
        assert [f"`{old}`", f"`{new}`"] == [by_old.warnings[0].split()[i] for i in (0, -1)]
        assert () == by_new.warnings

    def test_a_source_has_its_old_variables(self) -> None:
        """A source must take the old variables, also of inherited settings."""
        environ = {
            "LOADFLEET_REALLOAD_URL": "https://portal.example",
            "LOADFLEET_REALLOAD_TOKEN": "x",
            "LOADFLEET_REALLOAD_PACE": "40s",
        }

        found = loaded(environ, sources=[])

        (source,) = found.settings.sources
        assert ("x", 40.0) == (next(source.secrets()).reveal(), source.interval)
        assert ["`LOADFLEET_REALLOAD_AUTH_TOKEN`", "`LOADFLEET_REALLOAD_INTERVAL`"] == [
            text.split()[-1] for text in found.warnings
        ]

    def test_a_mistake_is_told_by_the_variable_that_was_used(self) -> None:
        """For a section and for a source alike."""
        environ = {
            "LOADFLEET_REALLOAD_URL": "https://portal.example",
            "LOADFLEET_REALLOAD_TOKEN": "x\ny",
            "LOADFLEET_LOG__LVL": "CANARY",
        }

        assert ["LOADFLEET_LOG__LVL", "LOADFLEET_REALLOAD_TOKEN"] == [
            text.partition(":")[0] for text in problems(environ, sources=[])
        ]

    def test_both_variables_at_once_are_a_mistake(self) -> None:
        """The old and the new variable together must be refused."""
        environ = {"LOADFLEET_LOG__LVL": "warn", "LOADFLEET_LOG__LEVEL": "info"}

        (problem,) = problems(environ)

        assert (
            "LOADFLEET_LOG__LVL: is the old name of LOADFLEET_LOG__LEVEL, which is given as well;"
            " remove one of the two"
        ) == problem

    def test_a_variable_goes_over_the_file_whichever_names_they_use(self) -> None:
        """Layers hide each other as ever."""
        found = loaded({"LOADFLEET_LOG__LEVEL": "error"}, log={"lvl": "warn"})

        assert "error" == found.settings.log.level


class TestFlag:
    def given(self, *arguments: str, **environ: str) -> tuple[dict[str, Any], list[str]]:
        """Return what a flag with an old name sets, and what is said of it."""
        parser = argparse.ArgumentParser()
        LEVEL.add_to(parser)
        parsed = parser.parse_args(arguments)
        assert "lvl" not in parser.format_help()
        return overrides([LEVEL], parsed, environ), list(warnings([LEVEL], parsed, environ))

    def test_the_old_flag_works_and_is_told(self) -> None:
        """Unit files and manifests outlive an upgrade."""
        assert (
            {"log": {"level": "warn"}},
            ["`--log.lvl` is deprecated since 0.2 and will be removed in 0.4; write `--log.level`"],
        ) == self.given("--log.lvl=warn")

    def test_the_old_twin_works_and_is_told(self) -> None:
        """The old flag's variable must work and cause a warning."""
        set_, (said,) = self.given(LOADFLEET_LOG_LVL="warn")

        assert {"log": {"level": "warn"}} == set_
        assert said.startswith("`LOADFLEET_LOG_LVL` is deprecated since 0.2")
        assert said.endswith("; write `LOADFLEET_LOG_LEVEL`")

    def test_the_new_flag_is_not_told(self) -> None:
        """The new flag must cause no warning."""
        assert ({"log": {"level": "warn"}}, []) == self.given("--log.level=warn")

    def test_both_flags_at_once_are_a_mistake(self) -> None:
        """The old and the new flag together must be refused."""
        with pytest.raises(ConfigurationError) as caught:
            self.given("--log.lvl=warn", "--log.level=info")

        (problem,) = caught.value.problems
        assert (
            "--log.lvl or LOADFLEET_LOG_LVL: is the old name of --log.level, which is given as"
            " well; remove one of the two"
        ) == problem


def test_each_old_name_is_one_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Each old name must be logged once, at the start."""
    found = loaded(log={"lvl": "warn"})

    configure_for(found.settings, warnings=found.warnings)
    configure_for(found.settings)

    (line,) = capsys.readouterr().err.splitlines()
    assert f'level=warning logger=exporter.settings event=deprecated problem="{LOG}"' in line


def test_check_config_tells_old_names_and_is_content(capsys: pytest.CaptureFixture[str]) -> None:
    """An upgrade is prepared with it, and nothing is wrong yet."""
    code = check.tell(loaded(log={"lvl": "warn"}))

    out, err = capsys.readouterr()
    assert (0, f"warning: {LOG}\n") == (code, err)
    assert out.endswith("configuration: fine\n")


def is_setting(name: str) -> bool:
    """Return whether a name, as the table has it, is one of a setting today."""
    first, *path, last = name.split(".")
    models = SECTIONS | {key: provider.settings for key, provider in PROVIDERS.items()}
    return last in known_keys(models[first], tuple(path))


@pytest.mark.parametrize("renamed", [*RENAMED, *TABLE])
def test_the_table_leads_from_names_of_nothing_to_settings(renamed: Renamed) -> None:
    """An old name that means something else today would change its meaning silently."""
    assert (False, True) == (is_setting(renamed.old), is_setting(renamed.new))


class TestRemoved:
    """Settings that are gone; what to do instead is said."""

    REMEDY = "no longer exists; remove it: alerts are now stored in the folder of `state.path`"

    def test_in_a_file(self) -> None:
        """A setting that is gone must be refused with its remedy, not ignored."""
        assert [f"alerting.state_file: {self.REMEDY}"] == problems(
            alerting={"state_file": "/var/lib/loadfleet/alerts.json"}
        )

    def test_in_the_environment(self) -> None:
        """The variable is named as it was written."""
        name = "LOADFLEET_ALERTING__STATE_FILE"

        assert [f"{name}: {self.REMEDY}"] == problems({name: "alerts.json"})

    def test_what_stands_beside_it_is_taken(self) -> None:
        """Settings beside the removed one must be checked as usual."""
        found = problems(alerting={"state_file": "alerts.json", "resend_interval": "soon"})

        assert 2 == len(found)
        assert "alerting.resend_interval" in found[1]
