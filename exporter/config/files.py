"""Safe reading and writing of files.

Symbolic links are followed, since Kubernetes mounts secrets through them. Reading a device, a pipe
or a socket could block or never end, so only regular files are opened, and each read has a size
limit.
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


#: Default size limit: more than a file with the certificates of all public authorities.
LIMIT_BYTES = 8 << 20

#: Time limit for reading a pipe.
PIPE_SECONDS = 10.0

_CHUNK_BYTES = 1 << 16

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class FileError(Exception):
    """A file cannot be read. The text gives the reason, without path and content.

    Attributes:
        path: The file's path.
        remedy: The action that solves the problem.
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
        status: The status of the opened file, which its path may no longer name.
    """

    content: bytes
    status: os.stat_result


def kind_of(mode: int) -> str:
    """Return a description of the type of a file that is not regular."""
    return next((name for matches, name in _KINDS if matches(mode)), "a device")


def is_pipe(path: Path) -> bool:
    """Return whether a path names a pipe, such as `<(…)` or `/dev/stdin`."""
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read(path: Path, *, limit_bytes: int = LIMIT_BYTES) -> File:
    """Return the content and status of a regular file.

    Raises:
        FileError: The file is not regular, cannot be read, or is larger than the limit.
    """
    try:
        # Checked before the opening as well, because opening a device can have an effect.
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
    except ValueError as error:  # a NUL or a surrogate in the path, which the error would quote
        raise FileError(path, "not a usable path") from error
    return File(content=found, status=status)


def content(path: Path) -> bytes:
    """Return the content of a regular file; empty if it cannot be read."""
    try:
        return read(path).content
    except FileError:
        return b""


def read_pipe(path: Path, *, limit_bytes: int, seconds: float = PIPE_SECONDS) -> bytes:
    """Return everything that is written into a pipe.

    Raises:
        FileError: The pipe cannot be read, its content exceeds the limit, or its writer is too
            slow.
    """
    end = time.monotonic() + seconds
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)

            def chunk() -> bytes:
                # Wait for a writer: before it opens the pipe, a read would return end of file.
                if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                    raise FileError(
                        path,
                        f"its writer did not finish within {seconds:g} s",
                        "make the writer start and finish sooner",
                    )
                return os.read(descriptor, _CHUNK_BYTES)

            return _all(path, chunk, limit_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileError(path, error.strerror or "unknown error") from error


def write(path: Path, content: bytes) -> None:
    """Replace a file atomically: readers see either the whole old or the whole new content.

    A symbolic link at the path is itself replaced; its target stays unchanged.

    Raises:
        OSError: The file cannot be written; the old file is unchanged.
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
