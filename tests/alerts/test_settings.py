"""The settings of alerting: defaults, mistakes, secrets and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trustme

from exporter.alerts.settings import AlertingSettings
from exporter.errors import ConfigurationError
from exporter.settings.load import from_data, redacted
from exporter.sharding import Shard


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.settings.load import Settings


SOURCE = {"provider": "realload", "url": "https://portal.example", "auth_token": "CANARY-token"}


def settings(folder: Path, *, environ: dict[str, str] | None = None, **alerting: Any) -> Settings:
    """Make settings whose relative paths count from a folder."""
    return from_data({"sources": [SOURCE], "alerting": alerting}, folder=folder, environ=environ)


def problems(folder: Path, **alerting: Any) -> tuple[str, ...]:
    """Return what is wrong with a part on alerting."""
    with pytest.raises(ConfigurationError) as caught:
        settings(folder, **alerting)
    return caught.value.problems


class TestAlertmanagers:
    def test_a_url_is_enough(self, tmp_path: Path) -> None:
        """The usual Alertmanager stands beside the exporter and asks for nothing."""
        (one,) = settings(tmp_path, alertmanagers=["http://am:9093"]).alerting.alertmanagers

        assert ("http://am:9093", 10.0, None, None) == (
            one.url,
            one.timeout,
            one.basic_auth,
            one.bearer,
        )

    def test_the_environment_gives_a_list_of_urls(self, tmp_path: Path) -> None:
        """`docker run -e …` is enough."""
        environ = {"LOADFLEET_ALERTING__ALERTMANAGERS": "http://one:9093,http://two:9093"}

        found = settings(tmp_path, environ=environ).alerting.alertmanagers

        assert ["http://one:9093", "http://two:9093"] == [one.url for one in found]

    def test_a_mapping_holds_credentials_and_files_beside_the_configuration(
        self, tmp_path: Path
    ) -> None:
        """Relative paths count from the configuration's folder, inside of lists too."""
        (tmp_path / "password").write_text("secret\n")
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))

        (one,) = settings(
            tmp_path,
            alertmanagers=[
                {
                    "url": "https://am:9093/path",
                    "timeout": "3s",
                    "basic_auth": {"username": "fleet", "password_file": "password"},
                    "ca_file": "ca.pem",
                }
            ],
        ).alerting.alertmanagers

        assert one.basic_auth is not None
        assert ("fleet", "secret") == (one.basic_auth.username, one.basic_auth.secret.reveal())
        assert (3.0, tmp_path / "ca.pem") == (one.timeout, one.ca_file)

    def test_all_mistakes_are_named_with_their_places(self, tmp_path: Path) -> None:
        """All mistakes must be reported at once, each with its key."""
        found = problems(
            tmp_path,
            alertmanagers=[
                "am:9093",
                {"url": "http://am", "basic_auht": {}},
            ],
        )

        assert {
            "alerting.alertmanagers[0]: is not an http or https URL; write it as https://host/path",
            "alerting.alertmanagers[1].basic_auht: unknown key; did you mean basic_auth?",
        } == set(found)

    @pytest.mark.parametrize(
        ("alertmanager", "problem"),
        [
            ({}, "alertmanagers[0].url: is missing; give the Alertmanager's URL"),
            (
                {"url": "http://am", "basic_auth": {"username": "CANARY:", "password": "x"}},
                "alertmanagers[0].basic_auth.username: must be a name without a colon",
            ),
            (
                {"url": "http://am", "basic_auth": {"username": "fleet"}},
                "alertmanagers[0].basic_auth.password: is missing; give it, or password_file",
            ),
            (
                {
                    "url": "http://am",
                    "bearer_token": "CANARY",
                    "basic_auth": {"username": "fleet", "password": "CANARY"},
                },
                "alertmanagers[0].basic_auth: is given together with a bearer token; remove one",
            ),
            (
                {"url": "http://am", "client_key_file": "key.pem"},
                "alertmanagers[0].client_key_file: has no certificate; give client_cert_file too",
            ),
        ],
    )
    def test_a_mistake_is_named_with_the_remedy(
        self, tmp_path: Path, alertmanager: dict[str, Any], problem: str
    ) -> None:
        """A problem, also of contradictory settings, must name its remedy and quote no value."""
        assert (f"alerting.{problem}",) == problems(tmp_path, alertmanagers=[alertmanager])

    @pytest.mark.parametrize("path", ["/api/v2", "/am/api/v2/", "/api/v1/alerts"])
    def test_the_path_of_the_api_is_not_given(self, tmp_path: Path, path: str) -> None:
        """A URL that ends in the API's path must be refused: the path is added."""
        why = "ends in the path of the API, which is added; leave out /api/…"
        url = f"http://am{path}"

        found = problems(tmp_path, alertmanagers=[url, {"url": url}])

        assert (
            f"alerting.alertmanagers[0]: {why}",
            f"alerting.alertmanagers[1].url: {why}",
        ) == found

    def test_no_alertmanager_is_listed_twice(self, tmp_path: Path) -> None:
        """An Alertmanager that is listed twice must be refused: it would get every alert twice."""
        assert ("alerting.alertmanagers[1]: is listed twice; remove one",) == problems(
            tmp_path, alertmanagers=["http://am", "http://am"]
        )

    def test_a_secret_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        """A secret file that is missing must be reported at the start."""
        (problem,) = problems(
            tmp_path, alertmanagers=[{"url": "http://am", "bearer_token_file": "absent"}]
        )

        assert "alerting.alertmanagers[0].bearer_token_file: cannot use the secret" in problem


class TestHoldOnSilence:
    def test_it_is_never_shorter_than_the_heartbeats_silence(self, tmp_path: Path) -> None:
        """Alerts that end between two calls would resolve and page in turn."""
        (found,) = problems(tmp_path, resend_interval="10m", hold_on_silence="39m")

        assert (
            "alerting.hold_on_silence: must be at least 40m, 4 intervals, or alerts would end"
            " between two calls"
        ) == found

    def test_the_longer_one_of_the_intervals_counts(self, tmp_path: Path) -> None:
        """`hold_on_silence` must be at least four times the longer interval."""
        (found,) = problems(tmp_path, evaluation_interval="2m", hold_on_silence="7m")

        assert found.startswith("alerting.hold_on_silence: must be at least 8m")

    def test_four_intervals_are_enough(self, tmp_path: Path) -> None:
        """The bound itself is allowed."""
        alerting = settings(tmp_path, resend_interval="10m", hold_on_silence="40m").alerting

        assert 2400.0 == alerting.hold_on_silence


class TestHeartbeat:
    @pytest.mark.parametrize(
        "url",
        [
            "https://hc-ping.com/CANARY",
            "http://127.0.0.1:8000/ping",
            "https://kuma.example/api/push/CANARY?status=up&msg=OK",
        ],
    )
    def test_a_url_switches_the_evaluation_on(self, tmp_path: Path, url: str) -> None:
        """A heartbeat URL must switch the built-in alerts on, also without an Alertmanager."""
        alerting = settings(tmp_path, heartbeat_url=url).alerting

        assert alerting.built_in
        assert alerting.heartbeat is not None
        assert url == alerting.heartbeat.reveal()

    def test_a_file_can_hold_it(self, tmp_path: Path) -> None:
        """The heartbeat URL may come from a file, because it is a secret."""
        (tmp_path / "url").write_text("https://hc-ping.com/CANARY\n")

        alerting = settings(tmp_path, heartbeat_url_file="url").alerting

        assert alerting.heartbeat is not None
        assert "https://hc-ping.com/CANARY" == alerting.heartbeat.reveal()
        assert [tmp_path / "url"] == list(alerting.files())

    @pytest.mark.parametrize(
        "url",
        [
            "hc-ping.com/CANARY",
            "ftp://hc-ping.com/CANARY",
            "https://user:CANARY@hc-ping.com/",
            "https://hc-ping.com/CANARY here",
            "https://hc-ping.com/?key=CANARY here",
            "https://hc-ping.com/?key=1#CANARY",
            "https://hc-ping.com/CANARY\n",
        ],
    )
    @pytest.mark.parametrize("by_file", [False, True])
    def test_what_is_no_url_is_a_mistake(self, tmp_path: Path, url: str, by_file: bool) -> None:
        """No part of it is quoted, and the place is where it was given."""
        (tmp_path / "url").write_text(f"{url}\n")
        given = {"heartbeat_url_file": "url"} if by_file else {"heartbeat_url": url}

        (found,) = problems(tmp_path, **given)

        assert (
            f"alerting.{next(iter(given))}: is not an http or https URL without user and password;"
            " write it as https://host/path"
        ) == found

    def test_two_are_one_too_many(self, tmp_path: Path) -> None:
        """A heartbeat URL beside a heartbeat file must be refused."""
        (tmp_path / "url").write_text("https://hc-ping.com/1")

        (found,) = problems(
            tmp_path, heartbeat_url="https://hc-ping.com/2", heartbeat_url_file="url"
        )

        assert (
            "alerting.heartbeat_url_file: is given as well as heartbeat_url; remove one of the two"
            == found
        )

    def test_it_is_not_shown(self, tmp_path: Path) -> None:
        """The heartbeat URL must be shown neither on `/config` nor in a `repr`."""
        found = settings(tmp_path, heartbeat_url="https://hc-ping.com/CANARY")

        assert "<secret>" == redacted(found)["alerting"]["heartbeat_url"]
        assert "CANARY" not in repr(found)
        assert ["https://hc-ping.com/CANARY"] == [
            secret.reveal() for secret in found.alerting.secrets()
        ]


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """`/config` shows that there is one, and nothing else of it."""
    shown = redacted(
        settings(
            tmp_path,
            alertmanagers=[
                {"url": "http://one", "bearer_token": "CANARY"},
                {"url": "http://two", "basic_auth": {"username": "fleet", "password": "CANARY"}},
            ],
        )
    )

    one, two = shown["alerting"]["alertmanagers"]
    assert ("<secret>", {"username": "fleet", "password": "<secret>"}) == (
        one["bearer_token"],
        two["basic_auth"],
    )
    assert "CANARY" not in str(shown)


def test_the_log_knows_which_secrets_to_take_out(tmp_path: Path) -> None:
    """Secrets of Alertmanagers must be known to the log's redaction."""
    alerting = settings(
        tmp_path,
        alertmanagers=[
            {"url": "http://one", "bearer_token": "first"},
            {"url": "http://two", "basic_auth": {"username": "fleet", "password": "second"}},
        ],
    ).alerting

    assert ["first", "second"] == [secret.reveal() for secret in alerting.secrets()]


def test_an_alert_is_named_once(tmp_path: Path) -> None:
    """An alert that is named with and without its prefix must be refused."""
    named = {"AgentUnreachable": {"off": True}, "LoadFleetAgentUnreachable": {"for": "9m"}}

    found = problems(tmp_path, alerts=named)

    (problem,) = found
    assert "alerts.LoadFleetAgentUnreachable: is also given without its prefix" in problem


def test_the_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    """The defaults must be: off; evaluated every 15 s, sent again every minute, kept for 4 h."""
    alerting = settings(tmp_path).alerting

    assert ((), 15.0, 60.0, 14_400.0) == (
        alerting.alertmanagers,
        alerting.evaluation_interval,
        alerting.resend_interval,
        alerting.hold_on_silence,
    )
    assert not alerting.built_in


def test_one_process_of_several_alerts_under_its_number() -> None:
    """A shard's alerts must carry its number, or one shard would end the alerts of another."""
    settings = AlertingSettings(external_labels={"site": "bern"})

    assert settings == settings.of_shard(Shard())
    assert {"site": "bern", "shard": "2"} == dict(
        settings.of_shard(Shard(index=2, total=4)).external_labels
    )
