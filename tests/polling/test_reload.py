from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import ConfigurationError
from exporter.metrics.telemetry import SelfMetrics
from exporter.polling.reload import Difference, Reloader, difference, identity
from exporter.settings.load import Loaded, from_data
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.settings.load import Settings
    from exporter.sources.settings import SourceSettings


def settings(name: str = "prod", **extra: Any) -> Settings:
    source = {
        "provider": "realload",
        "name": name,
        "url": "http://portal.example/RemoteUserAPI",
        "auth_token": "t",
    }
    return from_data({"sources": [source | extra]})


class TestDifference:
    def test_sources_are_sorted_by_what_happens_to_them(self) -> None:
        """Only what differs may be stopped or started."""
        found = difference({"a": 1, "b": 1, "c": 1}, {"c": 1, "b": 2, "d": 1})

        assert Difference(added=("d",), changed=("b",), removed=("a",), kept=("c",)) == found

    def test_nothing_to_do_is_false(self) -> None:
        """A reload of the same configuration is none."""
        assert not difference({"a": 1}, {"a": 1})


class TestIdentity:
    def source(self, **extra: Any) -> SourceSettings:
        (source,) = settings(**extra).sources
        return source

    def test_equal_settings_are_the_same_source(self) -> None:
        """Loading the same file twice must restart nothing."""
        assert identity(self.source()) == identity(self.source())

    def test_another_setting_is_another_source(self) -> None:
        """A changed time-out takes effect."""
        assert identity(self.source()) != identity(self.source(timeout="3s"))

    def test_another_certificate_under_the_same_path_is_another_source(
        self, tmp_path: Path
    ) -> None:
        """The file is read when the source connects, so its content counts."""
        path = tmp_path / "ca.pem"
        path.write_text("one")
        source = self.source().model_copy(update={"ca_file": path})
        before = identity(source)

        path.write_text("two")

        assert before != identity(source)


class Stage:
    """A reloader over a configuration that a test replaces."""

    def __init__(self) -> None:
        self.fake = FakeClock()
        self.telemetry = SelfMetrics(clock=self.fake.clock)
        self.answer: Loaded | ConfigurationError = Loaded(settings=settings(), hash="1")
        self.applied: list[Settings] = []
        self.under_way = 0
        self.most_under_way = 0
        self.reloader = Reloader(self.load, self.load(), self.apply, telemetry=self.telemetry)

    def load(self) -> Loaded:
        if isinstance(self.answer, ConfigurationError):
            raise self.answer
        return self.answer

    async def apply(self, new: Settings) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        self.applied.append(new)

    def gauge(self, name: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"loadfleet_exporter_config_{name}")


@pytest.fixture
def stage() -> Stage:
    return Stage()


class TestReloader:
    async def test_a_good_configuration_is_applied_and_told(self, stage: Stage) -> None:
        """The gauges are what an alert and a deployment look at."""
        stage.fake.shift(100)
        stage.answer = Loaded(settings=settings("other"), hash="2")

        await stage.reloader.reload()

        assert [settings("other")] == stage.applied
        assert 1 == stage.gauge("last_reload_successful")
        assert stage.fake.unix == stage.gauge("last_reload_success_timestamp_seconds")

    async def test_a_bad_one_changes_nothing_and_is_told(self, stage: Stage) -> None:
        """A typing error at noon must not stop the monitoring."""
        loaded_at = stage.gauge("last_reload_success_timestamp_seconds")
        stage.fake.shift(100)
        stage.answer = ConfigurationError(["webb: unknown key"])

        with pytest.raises(ConfigurationError, match="webb"):
            await stage.reloader.reload()

        assert [] == stage.applied
        assert 0 == stage.gauge("last_reload_successful")
        assert loaded_at == stage.gauge("last_reload_success_timestamp_seconds")

    async def test_looking_reloads_only_what_changed(self, stage: Stage) -> None:
        """A look for changes must reload only after a change."""
        await stage.reloader.reload_if_changed()
        unchanged = len(stage.applied)

        stage.answer = Loaded(settings=settings(timeout="3s"), hash="2")
        await stage.reloader.reload_if_changed()
        await stage.reloader.reload_if_changed()

        assert (0, 1) == (unchanged, len(stage.applied))

    async def test_a_mistake_that_stays_is_logged_once(self, stage: Stage) -> None:
        """A file that is being edited for an hour is not 120 errors."""
        stage.answer = ConfigurationError(["webb: unknown key"])

        with capture_logs() as logs:
            for _ in range(3):
                await stage.reloader.reload_if_changed()

        assert ["webb: unknown key"] == [entry["problem"] for entry in logs]

    async def test_going_back_to_the_old_file_is_a_success(self, stage: Stage) -> None:
        """The gauge must not stay at 0 after the mistake was taken back."""
        good = stage.answer
        stage.answer = ConfigurationError(["webb: unknown key"])
        await stage.reloader.reload_if_changed()

        stage.answer = good
        await stage.reloader.reload_if_changed()

        assert 1 == stage.gauge("last_reload_successful")

    async def test_reloads_do_not_overlap(self, stage: Stage) -> None:
        """A signal, a request and a changed file can come at the same moment."""
        await asyncio.gather(*(stage.reloader.reload() for _ in range(5)))

        assert 1 == stage.most_under_way
        assert 5 == len(stage.applied)
