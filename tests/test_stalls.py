from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.conformance.stalls import REPEATS, undisturbed


if TYPE_CHECKING:
    from pathlib import Path


class Play:
    """A play that fails a given number of times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.plays = 0

    async def __call__(self, folder: Path) -> None:
        self.plays += 1
        if self.plays <= self.failures:
            raise ValueError(folder.name)


async def test_a_play_that_is_repeated_is_noted(tmp_path: Path) -> None:
    """A test that passes the second time must leave a trace."""
    play, notes = Play(failures=1), list[str]()

    await undisturbed(play, tmp_path, patience_seconds=-1.0, note=notes.append)

    assert 2 == play.plays
    assert ["ValueError('play-0')"] == [note.rpartition("; ")[2] for note in notes]


async def test_a_failure_that_no_stall_explains_is_not_repeated(tmp_path: Path) -> None:
    """A failure must not be repeated if the event loop never stood still."""
    play, notes = Play(failures=1), list[str]()

    with pytest.raises(ValueError, match="play-0"):
        await undisturbed(play, tmp_path, patience_seconds=60.0, note=notes.append)

    assert (1, []) == (play.plays, notes)


async def test_a_play_that_fails_every_time_fails(tmp_path: Path) -> None:
    """No machine is busy for ever."""
    play, notes = Play(failures=REPEATS + 1), list[str]()

    with pytest.raises(ValueError, match=f"play-{REPEATS}"):
        await undisturbed(play, tmp_path, patience_seconds=-1.0, note=notes.append)

    assert REPEATS == len(notes)
