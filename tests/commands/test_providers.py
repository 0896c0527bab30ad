"""The list of providers, and what is said of plug-ins that cannot be used."""

from __future__ import annotations

import pytest

from exporter.cli import main
from exporter.commands import providers
from exporter.errors import ConfigurationError
from exporter.settings import load
from exporter.sources.plugins import Broken, Installed
from exporter.sources.registry import BUILT_IN


BROKEN = Broken("acme", "acme-load 1.2", "the name is taken; two providers cannot share one")
TEXT = (
    "the provider 'acme' of acme-load 1.2 is left out: the name is taken; two providers cannot"
    " share one"
)


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own plug-ins."""
    monkeypatch.setattr(providers, "PROVIDERS", dict(BUILT_IN))
    monkeypatch.setattr(providers, "INSTALLED", {})
    monkeypatch.setattr(providers, "BROKEN", ())


def test_lists_those_that_are_built_in(capsys: pytest.CaptureFixture[str]) -> None:
    """A provider per line: its name, its kinds of targets, and where it comes from."""
    code = main(["providers"])

    assert 0 == code
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert [
        [name, ", ".join(provider.kinds), "built in"] for name, provider in BUILT_IN.items()
    ] == cells
    assert ["realload", "blazemeter", "eggplant", "locust", "selenium"] == list(BUILT_IN)


def test_says_of_a_plug_in_which_package_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plug-in must be listed with its package and version."""
    locust = BUILT_IN["locust"]
    monkeypatch.setattr(providers, "INSTALLED", {"locust": Installed(locust, "acme-load 1.2")})

    code = main(["providers"])

    (line,) = (each for each in capsys.readouterr().out.splitlines() if "locust" in each)
    assert 0 == code
    assert line.endswith("  acme-load 1.2")


def test_names_what_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are listed nevertheless; the code says that something is wrong."""
    monkeypatch.setattr(providers, "BROKEN", (BROKEN,))

    code = main(["providers"])

    captured = capsys.readouterr()
    assert 1 == code
    assert f"providers: {TEXT}\n" == captured.err
    assert len(BUILT_IN) == len(captured.out.splitlines())


def test_a_source_of_a_broken_plug_in_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of a broken plug-in must be reported with the plug-in's error."""
    monkeypatch.setattr(load, "BROKEN", (BROKEN,))

    with pytest.raises(ConfigurationError) as caught:
        load.from_data({"sources": [{"provider": "acme", "url": "http://127.0.0.1"}]})

    assert (f"sources[0].provider: {TEXT}",) == caught.value.problems


def test_a_broken_plug_in_is_a_warning_to_everybody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken plug-in must be no more than a warning to a configuration that does not use it."""
    monkeypatch.setattr(load, "BROKEN", (BROKEN,))
    content = b"sources: [{provider: locust, url: 'http://127.0.0.1:8089'}]"

    loaded = load.load(None, content=content, environ={})

    assert (TEXT,) == loaded.warnings
