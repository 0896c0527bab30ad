from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.config.validation import checked, dotted
from exporter.sources.blazemeter import BLAZEMETER
from exporter.sources.blazemeter.settings import BlazeMeterSettings, Credentials
from exporter.sources.registry import PROVIDERS


if TYPE_CHECKING:
    from pathlib import Path


GOOD: dict[str, Any] = {"api_key_id": "a", "api_key_secret": "canary-secret", "workspaces": [1]}


def good(**values: Any) -> BlazeMeterSettings:
    """Return settings without a mistake."""
    raw = {key: value for key, value in {**GOOD, **values}.items() if value is not None}
    found = checked(BlazeMeterSettings, raw)
    assert not found.mistakes
    return found.settings


def mistakes(**values: Any) -> list[str]:
    """Return the mistakes in some settings that are good otherwise."""
    raw = {key: value for key, value in {**GOOD, **values}.items() if value is not None}
    return [
        f"{dotted(each.path)}: {each.text}" for each in checked(BlazeMeterSettings, raw).mistakes
    ]


def test_are_registered() -> None:
    """The provider is found by its name."""
    assert BLAZEMETER is PROVIDERS["blazemeter"]


def test_have_defaults() -> None:
    """Key and workspaces are enough."""
    settings = good()

    assert "https://a.blazemeter.com" == settings.url
    assert (300, 3600, 30 * 86400) == (
        settings.heartbeat_max_age,
        settings.run_linger,
        settings.lookback,
    )
    assert (60, 60) == (settings.interval_for("runs"), settings.interval_for("agents"))


def test_accept_everything_of_the_design() -> None:
    """All keys of the documented example are known."""
    assert [] == mistakes(
        url="https://a.blazemeter.com",
        masters=[17462719],
        heartbeat_max_age="5m",
        min_agent_version="3.6.80",
        run_linger="1h",
        lookback="7d",
        tasks={"runs": "60s", "agents": False},
        include={"suites": "Check.*"},
    )


def test_without_workspaces_have_no_agents() -> None:
    """Agents are found through workspaces, so that task is off without any."""
    settings = good(workspaces=[], masters=[1])

    assert settings.interval_for("agents") is None
    assert settings.interval_for("runs") == 60


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"workspaces": None}, [("workspaces: is missing; give the ids of workspaces, or of runs"
          " as masters")]),
        ({"workspaces": None, "masters": [1], "tasks": {"agents": "60s"}},
         ["tasks.agents: needs workspaces to find agents in; give their ids, or remove it"]),
        ({"workspaces": ["x"]}, ["workspaces[0]: must be a whole number"]),
        ({"masters": [0]}, ["masters[0]: must be at least 1"]),
        ({"min_agent_version": "new"}, ["min_agent_version: is not a version; write it as 3.6.80"]),
        ({"min_agent_version": 3.6}, ["min_agent_version: must be text; put it in quotes"]),
        ({"api_key_id": None}, ["api_key_id: is missing; give it, or api_key_file with both"]),
        ({"api_key_id": "a:b"}, ["api_key_id: holds a colon, which no id has; give the id alone"]),
        ({"api_key_secret": None},
         ["api_key_secret: is missing; give it, or api_key_secret_file"]),
        ({"api_key_file": "/nowhere"},
         ["api_key_file: holds both id and secret; remove it or the other api_key settings"]),
        ({"tasks": {"run": "60s"}}, ["tasks.run: unknown task; did you mean runs?"]),
    ],
)  # fmt: skip
def test_name_each_mistake(values: dict[str, Any], found: list[str]) -> None:
    """Each mistake has its place and the remedy."""
    assert found == mistakes(**values)


@pytest.mark.parametrize(
    "content", ["canary-secret", '{"id": "a"}', '{"id": "", "secret": "canary-secret"}', "[]"]
)
def test_refuse_a_file_that_is_no_key(content: str, tmp_path: Path) -> None:
    """The message names the file and quotes nothing of it."""
    path = tmp_path / "key.json"
    path.write_text(content)

    (found,) = mistakes(api_key_id=None, api_key_secret=None, api_key_file=path)

    assert f"the key file {path} does not hold" in found
    assert "canary" not in found


def test_never_show_the_key() -> None:
    """Neither the settings nor the credentials may show the key."""
    settings = good()

    assert "canary" not in repr(settings)
    assert "<secret>" == repr(settings.credentials)


def test_fingerprint_tells_keys_apart(tmp_path: Path) -> None:
    """A changed key file must have another fingerprint, an unreadable one none."""
    path = tmp_path / "key.json"
    path.write_text('{"id": "a", "secret": "b"}')
    credentials = good(api_key_id=None, api_key_secret=None, api_key_file=path).credentials
    before = credentials.fingerprint()

    path.write_text('{"id": "a", "secret": "other"}')
    after = credentials.fingerprint()
    path.unlink()

    assert len({"", before, after}) == 3
    assert credentials.fingerprint() == ""
    assert "" != Credentials().fingerprint()
