from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trustme

from exporter.config.validation import checked, dotted
from exporter.sources.realload.settings import RealLoadSettings


if TYPE_CHECKING:
    from pathlib import Path


URL = "https://portal.example/RemoteUserAPI"


def settings(**fields: Any) -> RealLoadSettings:
    """Make settings as a file would."""
    return RealLoadSettings.model_validate({"url": URL, "auth_token": "CANARY"} | fields)


def mistakes(**fields: Any) -> list[str]:
    """Return the places of the mistakes."""
    outcome = checked(RealLoadSettings, {"url": URL, "auth_token": "CANARY"} | fields)
    return [dotted(mistake.path) for mistake in outcome.mistakes]


class TestIntervals:
    def test_without_a_word_the_providers_defaults_count(self) -> None:
        """Tasks must have the provider's default intervals, but for those off by default."""
        assert {
            "agents": 60.0,
            "controllers": 60.0,
            "clusters": 60.0,
            "recorders": 60.0,
            "suites": 60.0,
            "versions": 600.0,
        } == settings().intervals()

    def test_a_tasks_own_interval_counts_first(self) -> None:
        """A task can be switched on, off, and to any pace."""
        tasks = {"agents": "10s", "suites": False, "jobs": "5m", "versions": "2m"}

        source = settings(interval="30s", tasks=tasks)

        assert (10.0, None, 300.0, 120.0) == tuple(source.interval_for(task) for task in tasks)

    def test_interval_is_the_pace_of_ordinary_tasks_only(self) -> None:
        """`interval` must apply to ordinary tasks only, not to slow ones or those that are off."""
        source = settings(interval="30s")

        assert (30.0, 600.0, None) == tuple(
            source.interval_for(task) for task in ("agents", "versions", "certificates")
        )

    def test_interval_slows_down_all(self) -> None:
        """A longer one holds for slow tasks as well."""
        assert 1200.0 == settings(interval="20m").interval_for("versions")


class TestStaleAfter:
    def test_readings_live_for_three_intervals(self) -> None:
        """Two polls may fail before a series ends."""
        source = settings(tasks={"agents": "20s"})

        assert (60.0, 1800.0) == (
            source.stale_after_for("agents"),
            source.stale_after_for("versions"),
        )

    def test_what_is_set_holds_for_tasks_polled_as_often(self) -> None:
        """A slower task's series must not go between its polls."""
        source = settings(stale_after="3m")

        assert (180.0, 1800.0) == (
            source.stale_after_for("agents"),
            source.stale_after_for("versions"),
        )


class TestWanted:
    @pytest.mark.parametrize(
        ("name", "wanted"),
        [("ubuntu-1", True), ("my-ubuntu-1", False), ("ubuntu-old", False), ("debian", False)],
    )
    def test_include_and_exclude_match_whole_names(self, name: str, wanted: bool) -> None:
        """Exclude wins; an expression that fits a part fits not."""
        source = settings(include={"agents": "ubuntu.*"}, exclude={"agents": ".*-old"})

        assert wanted is source.wanted("agents", name)

    def test_without_expressions_all_is_wanted(self) -> None:
        """The filters of one kind say nothing of another."""
        assert settings(include={"agents": "x"}).wanted("suites", "any")

    def test_an_unknown_kind_is_a_mistake_of_the_caller(self) -> None:
        """A filter that can never be set must not be asked for."""
        with pytest.raises(LookupError):
            settings().wanted("agent", "any")


class TestProxy:
    @pytest.mark.parametrize(
        "url", ["http://CANARY@proxy:1", "https://proxy.example", "http://[::1]:3128"]
    )
    def test_an_http_url_is_no_mistake(self, url: str) -> None:
        """A proxy is named by its URL, with a user or without."""
        assert [] == mistakes(proxy_url=url)

    @pytest.mark.parametrize("url", ["http://[::1", "http://proxy:99999", "socks5://proxy:1"])
    def test_anything_else_is_found_at_the_start(self, url: str) -> None:
        """A URL that cannot be taken apart must be told of, and must stop nothing else."""
        assert ["proxy_url"] == mistakes(proxy_url=url)

    def test_a_file_that_is_missing_is_one_mistake(self, tmp_path: Path) -> None:
        """A setting that could not be read must not be reported twice."""
        assert ["proxy_url_file"] == mistakes(proxy_url_file=tmp_path / "missing")


class TestTls:
    def test_usable_material_is_no_mistake(self, tmp_path: Path) -> None:
        """A CA, and a certificate with its key, are accepted."""
        authority = trustme.CA()
        certificate = authority.issue_cert("client.example")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")

        assert [] == mistakes(
            ca_file=tmp_path / "ca.pem",
            client_cert_file=tmp_path / "cert.pem",
            client_key_file=tmp_path / "key.pem",
        )
        assert [] == mistakes(client_cert_file=tmp_path / "both.pem")

    def test_a_key_of_another_certificate_is_a_mistake(self, tmp_path: Path) -> None:
        """A key that does not fit its certificate must be refused at the start."""
        authority = trustme.CA()
        authority.issue_cert("a.example").cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        authority.issue_cert("b.example").private_key_pem.write_to_path(tmp_path / "key.pem")

        assert ["client_cert_file"] == mistakes(
            client_cert_file=tmp_path / "cert.pem", client_key_file=tmp_path / "key.pem"
        )
