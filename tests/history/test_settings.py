from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import ConfigurationError
from exporter.history.history import History, open_history
from exporter.settings.load import Settings, from_data
from exporter.sharding import Shard
from tests.support.clock import FakeClock


if TYPE_CHECKING:
    from pathlib import Path


def settings(history: dict[str, Any], **sections: Any) -> Settings:
    source = {
        "provider": "realload",
        "name": "prod",
        "url": "https://portal.example/RemoteUserAPI",
        "auth_token": "token",
    }
    return from_data({"sources": [source], "history": history, **sections})


def opened(
    history: dict[str, Any],
    *,
    shard: Shard | None = None,
    lasting: bool = True,
    environ: dict[str, str] | None = None,
    **sections: Any,
) -> History | None:
    found = settings(history, **sections)
    return open_history(
        found.history,
        state=found.state,
        shard=shard or Shard(),
        clock=FakeClock().clock,
        lasting=lasting,
        environ=environ or {},
    )


def file_of(history: History | None) -> str | None:
    assert history is not None
    place = history._database.place
    return None if place is None else str(place.file)


def test_thirty_days_and_a_gibibyte_by_default() -> None:
    """The default must be 30 days and a gibibyte."""
    found = settings({}).history

    assert (30 * 86_400.0, 2**30) == (found.keep, found.max_bytes)


@pytest.mark.parametrize("word", ["off", False])
def test_can_be_switched_off(word: object) -> None:
    """A history that is off must not exist."""
    assert opened({"keep": word}) is None


def test_less_than_a_day_is_refused() -> None:
    """A `keep` of less than a day must be refused with its remedy."""
    with pytest.raises(ConfigurationError) as refused:
        settings({"keep": "1h"})

    assert ("history.keep: is shorter than a day; write 1d or more, or off",) == (
        refused.value.problems
    )


def test_lies_beside_the_state(tmp_path: Path) -> None:
    """The history must be stored in the state's folder by default."""
    state = {"path": str(tmp_path)}

    assert f"{tmp_path}/history.db" == file_of(opened({}, state=state))


def test_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """The history's own `path` must take precedence over the state's."""
    state = {"path": str(tmp_path)}

    found = opened({"path": str(tmp_path / "other")}, state=state)

    assert f"{tmp_path}/other/history.db" == file_of(found)


def test_is_local_where_the_state_is_not(tmp_path: Path) -> None:
    """Beside Redis it is where the state would be without."""
    state = {"url": "redis://redis.example"}

    found = opened({}, state=state, environ={"STATE_DIRECTORY": str(tmp_path)})

    assert f"{tmp_path}/history.db" == file_of(found)


def test_shards_have_files_of_their_own(tmp_path: Path) -> None:
    """Shards of one host share a folder, and each has other targets."""
    state = {"path": str(tmp_path)}

    found = opened({}, state=state, shard=Shard(index=2, total=3))

    assert f"{tmp_path}/history-2.db" == file_of(found)


def test_leaves_nothing_behind_if_it_must_not(tmp_path: Path) -> None:
    """A demonstration keeps it in memory."""
    state = {"path": str(tmp_path)}

    assert file_of(opened({}, state=state, lasting=False)) is None


def test_without_any_folder() -> None:
    """Without any folder, the history must be kept in memory, and the log must say so."""
    with capture_logs() as logs:
        found = opened({})

    assert file_of(found) is None
    assert ["there is no folder for it; name one in history.path"] == [
        each["message"] for each in logs
    ]
