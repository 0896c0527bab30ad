"""Secrets: given by value or by file, shown by nobody."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING

from pydantic import SecretStr

from exporter.errors import CallError, Reason


if TYPE_CHECKING:
    from pathlib import Path


#: Printed in place of a secret.
HIDDEN = "<secret>"

#: A larger file is no secret, but a mistaken path.
LIMIT_BYTES = 65_536

_FOR_HEADERS = re.compile(r"[!-~]([ -~]*[!-~])?")


def fits_header(text: str) -> bool:
    """Return whether an HTTP header can carry a text as it is."""
    return _FOR_HEADERS.fullmatch(text) is not None


def is_text(text: str) -> bool:
    """Return whether a text can be encoded; what stands for bytes that are not UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class SecretFileError(CallError):
    """A file with a secret cannot be used; the message names its path.

    Attributes:
        remedy: The way to mend it.
    """

    def __init__(
        self, path: Path, why: str, *, remedy: str = "correct the path or its rights"
    ) -> None:
        super().__init__(Reason.AUTH, f"cannot use the secret file {path}: {why}")
        self.remedy = remedy


class Secret:
    """A secret that follows its file: rotation needs no restart.

    Two secrets are equal when they come from the same value or the same path.

    Attributes:
        path: The file it is read from.
    """

    __slots__ = ("_content", "_hashed", "_seen", "_value", "path")

    def __init__(self, value: SecretStr | str | None = None, path: Path | None = None) -> None:
        """Take a pair of settings, of which the file wins."""
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        self._value = plain or ""
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._content = ""
        #: The content that was hashed last, with its hash.
        self._hashed = ("", "")

    def reveal(self) -> str:
        """Return the secret, read again when its file changed.

        One newline at the end of a file is not part of the secret.

        Raises:
            SecretFileError: The file cannot be read or holds no text.
        """
        if self.path is None:
            return self._value
        try:
            seen = _identity(self.path.stat())
            if seen != self._seen:
                self._content, self._seen = self._read(self.path)
        except OSError as error:
            raise SecretFileError(self.path, error.strerror or "unknown error") from None
        except ValueError as error:
            raise SecretFileError(self.path, str(error)) from None
        return self._content

    def known(self) -> str:
        """Return the secret as far as it was read, without looking at its file."""
        return self._value if self.path is None else self._content

    def refresh(self) -> None:
        """Forget what was read, so that the next use reads the file whatever its time says."""
        self._seen = None

    def fingerprint(self) -> str:
        """Return a hash of the secret, empty while its file cannot be read."""
        try:
            content = self.reveal()
        except CallError:
            return ""
        # Asked for several times per call.
        if content != self._hashed[0] or not self._hashed[1]:
            # From the environment there may come what is no text.
            hashed = hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()
            self._hashed = content, hashed
        return self._hashed[1]

    @staticmethod
    def _read(path: Path) -> tuple[str, tuple[int, int, int]]:
        # Opening a named pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is not a regular file")
            content = file.read(LIMIT_BYTES + 1)
        if len(content) > LIMIT_BYTES:
            raise ValueError(f"it is larger than {LIMIT_BYTES} bytes")
        try:
            text = content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8 text") from None
        if not text:
            raise SecretFileError(path, "it is empty", remedy="write the secret into it")
        return text, _identity(status)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self._value, self.path) == (other._value, other.path)

    def __hash__(self) -> int:
        return hash((self._value, self.path))

    def __repr__(self) -> str:
        return HIDDEN


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino
