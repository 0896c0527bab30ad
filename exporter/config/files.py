"""Files that others have written: read only where that comes to an end.

Links are followed, since Kubernetes mounts secrets through some. A device, a pipe or a socket may
answer never or for ever, so nothing but a regular file is opened, and no more of it is read than
the limit of its kind.
"""

from __future__ import annotations

import os
import select
import stat
import time
from secrets import token_hex
from typing import TYPE_CHECKING

import msgspec

from exporter.config.types import format_size


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


#: No file with certificates is larger, be it of all authorities.
LIMIT_BYTES = 8 << 20

#: How long a pipe may take to be written.
PIPE_SECONDS = 10.0

_CHUNK_BYTES = 1 << 16

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class FileError(Exception):
    """A file cannot be read; the text says why, without path and content.

    Attributes:
        path: Of the file.
        remedy: The way to mend it.
    """

    def __init__(
        self, path: Path, why: str, remedy: str = "correct the path or its rights"
    ) -> None:
        super().__init__(why)
        self.path = path
        self.remedy = remedy


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was read.

    Attributes:
        status: Of what was read, whatever its path names by now.
    """

    content: bytes
    status: os.stat_result


def kind_of(mode: int) -> str:
    """Return what something is that is no regular file."""
    return next((name for matches, name in _KINDS if matches(mode)), "a device")


def is_pipe(path: Path) -> bool:
    """Return whether a path names a pipe, as `<(…)` and `/dev/stdin` do."""
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read(path: Path, *, limit_bytes: int = LIMIT_BYTES) -> File:
    """Read a regular file.

    Raises:
        FileError: It is none, cannot be read, or is larger than the limit.
    """
    try:
        # Looked at before it is opened too: to open a device can do something.
        _expect_regular(path, path.stat())
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            _expect_regular(path, status)
            found = _all(path, lambda: os.read(descriptor, _CHUNK_BYTES), limit_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileError(path, error.strerror or "unknown error") from error
    except ValueError as error:  # a NUL, or half of a character; the error would quote the path
        raise FileError(path, "not a usable path") from error
    return File(content=found, status=status)


def content(path: Path) -> bytes:
    """Return what a regular file holds, nothing while it cannot be read."""
    try:
        return read(path).content
    except FileError:
        return b""


def read_pipe(path: Path, *, limit_bytes: int, seconds: float = PIPE_SECONDS) -> bytes:
    """Read all that is written into a pipe.

    Raises:
        FileError: It cannot be read, is more than the limit, or its end does not come in time.
    """
    end = time.monotonic() + seconds
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)

            def chunk() -> bytes:
                # Without a writer yet, to read at once would look like the end.
                if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                    raise FileError(
                        path,
                        f"nobody has written all of it within {seconds:g} s",
                        "have its writer begin, and end, sooner",
                    )
                return os.read(descriptor, _CHUNK_BYTES)

            return _all(path, chunk, limit_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileError(path, error.strerror or "unknown error") from error


def write(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it finds all of the old one or of the new one.

    A link in its place is replaced, and what it leads to stays as it is.

    Raises:
        OSError: It cannot be written; what was there is left as it was.
    """
    new = path.with_name(f".{path.name}.{token_hex(8)}.new")
    descriptor = os.open(
        new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _expect_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FileError(
            path, f"it is {kind_of(status.st_mode)} and not a regular file", "name a file"
        )


def _all(path: Path, chunk: Callable[[], bytes], limit_bytes: int) -> bytes:
    found = bytearray()
    while more := chunk():
        found += more
        if len(found) > limit_bytes:
            why = f"it is larger than {format_size(limit_bytes)}"
            raise FileError(path, why, "name the right file")
    return bytes(found)
