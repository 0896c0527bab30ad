from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from exporter.config.secret import LIMIT_BYTES, Secret
from exporter.errors import CallError, Reason


if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a secret."""
    path = tmp_path / "secret"
    path.write_text("CANARY-1\n")
    return path


def test_a_secret_by_value_is_what_was_given() -> None:
    """A value needs no file."""
    assert "CANARY" == Secret(SecretStr("CANARY"), None).reveal()


def test_the_newline_at_the_end_of_a_file_is_no_part_of_the_secret(path: Path) -> None:
    """One newline at the end of the file must be cut from the secret, and no other space."""
    path.write_bytes(b" CANARY \n\r\n")

    assert " CANARY \n" == Secret(path=path).reveal()


def test_nothing_printed_shows_a_secret(path: Path) -> None:
    """Neither `repr` nor `str` nor a format may show a secret."""
    secrets = [Secret(value="CANARY"), Secret(path=path)]
    secrets[1].reveal()

    assert "<secret> <secret> [<secret>, <secret>]" == f"{secrets[0]} {secrets[1]!s} {secrets!r}"


def test_what_is_no_text_has_a_fingerprint() -> None:
    """The environment may hold any bytes; whoever asks must not end in an error."""
    assert Secret(value="CANARY\udcff").fingerprint()


def test_new_content_is_read(path: Path) -> None:
    """Rotation by writing the file needs no restart."""
    secret = Secret(path=path)
    before = secret.reveal(), secret.fingerprint()

    path.write_text("CANARY-22\n")

    assert "CANARY-1" == before[0]
    assert "CANARY-22" == secret.reveal()
    assert before[1] != secret.fingerprint()


def test_a_swapped_link_is_followed(tmp_path: Path, path: Path) -> None:
    """Rotation as Kubernetes does it, with same size and time, is seen."""
    other = tmp_path / "other"
    other.write_text("CANARY-2\n")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    link = tmp_path / "link"
    link.symlink_to(path)
    secret = Secret(path=link)
    before = secret.reveal()

    (tmp_path / "new").symlink_to(other)
    (tmp_path / "new").rename(link)

    assert "CANARY-1" == before
    assert "CANARY-2" == secret.reveal()


def test_a_change_that_leaves_no_trace_is_read_after_refresh(path: Path) -> None:
    """After a refusal the file is read whatever its time says."""
    secret = Secret(path=path)
    secret.reveal()
    status = path.stat()
    with path.open("r+") as file:
        file.write("CANARY-2\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    unseen = secret.reveal()

    secret.refresh()

    assert "CANARY-1" == unseen
    assert "CANARY-2" == secret.reveal()


def test_what_was_read_is_known_without_the_file(path: Path) -> None:
    """A secret that was read must be known without its file, so that logs can be redacted."""
    secret = Secret(path=path)
    before = secret.known()
    secret.reveal()
    path.unlink()

    assert "" == before
    assert "CANARY-1" == secret.known()


@pytest.mark.parametrize("content", [b"", b"\n", b"CANARY\xff", b"x" * (LIMIT_BYTES + 1)])
def test_a_file_without_a_secret_is_an_error_that_names_only_the_path(
    path: Path, content: bytes
) -> None:
    """An empty, binary or huge file is never sent."""
    path.write_bytes(content)

    with pytest.raises(CallError) as caught:
        Secret(path=path).reveal()

    assert Reason.AUTH is caught.value.reason
    assert str(path) in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    """Only regular files can be read again."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(CallError, match="not a regular file"):
        Secret(path=tmp_path / "pipe").reveal()


def test_a_vanished_file_is_an_error_until_it_is_back(path: Path) -> None:
    """A secret whose file has vanished must be an error, not the old content."""
    secret = Secret(path=path)
    before = secret.fingerprint()
    path.unlink()

    with pytest.raises(CallError):
        secret.reveal()
    gone = secret.fingerprint()
    path.write_text("CANARY-1")

    assert "" == gone
    assert "CANARY-1" == secret.reveal()
    assert before == secret.fingerprint()


def test_secrets_from_the_same_place_are_equal(path: Path) -> None:
    """Settings that did not change compare as unchanged."""
    assert Secret(path=path) == Secret(path=path)
    assert Secret(value="a") != Secret(value="b")
