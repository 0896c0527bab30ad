"""Secrets, given by value or by file, and hidden in every output."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from pydantic import SecretStr

from exporter.config import files
from exporter.errors import CallError, Reason


if TYPE_CHECKING:
    import os
    from pathlib import Path


#: Printed in place of a secret.
HIDDEN = "<secret>"

#: Size limit of secret files. A larger file means a wrong path.
LIMIT_BYTES = 65_536

#: Error text for a placeholder in place of a value.
UNRESOLVED = (
    "is a placeholder that nothing replaces; write the value, name a file that contains it, or set"
    " a variable that begins with LOADFLEET_"
)

_PLACEHOLDER = re.compile(r"\s*\$(\{[^{}]*\}|\([A-Za-z_]\w*\))\s*")
_FOR_HEADERS = re.compile(r"[!-~]([ -~]*[!-~])?")


def fits_header(text: str) -> bool:
    """Return whether an HTTP header can carry a text unchanged."""
    return _FOR_HEADERS.fullmatch(text) is not None


def is_placeholder(text: str) -> bool:
    """Return whether a text is a placeholder such as `${NAME}` or `$(NAME)`."""
    return _PLACEHOLDER.fullmatch(text) is not None


def is_text(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8; surrogates of undecodable bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class SecretFileError(CallError):
    """A secret file cannot be used; the message names its path.

    Attributes:
        remedy: The action that solves the problem.
    """

    def __init__(
        self, path: Path, why: str, *, remedy: str = "correct the path or its rights"
    ) -> None:
        super().__init__(Reason.AUTH, f"cannot use the secret file {path}: {why}")
        self.remedy = remedy


class Secret:
    """A secret. If it comes from a file, changes of the file take effect without a restart.

    Two secrets are equal if they have the same value or the same path.

    Attributes:
        path: The file of the secret, if any.
    """

    __slots__ = ("_content", "_hashed", "_seen", "_value", "path")

    def __init__(self, value: SecretStr | str | None = None, path: Path | None = None) -> None:
        """Take the values of the two settings. The file takes precedence."""
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        self._value = plain or ""
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._content = ""
        #: The content that was last hashed, and its hash.
        self._hashed = ("", "")

    def reveal(self) -> str:
        """Return the secret. If its file has changed, read it again.

        One newline at the end of a file is not part of the secret.

        Raises:
            SecretFileError: The file cannot be read, is empty or is not UTF-8.
        """
        if self.path is None:
            return self._value
        try:
            seen = _identity(self.path.stat())
            if seen != self._seen:
                self._content, self._seen = self._read(self.path)
        except OSError as error:
            raise SecretFileError(self.path, error.strerror or "unknown error") from None
        except ValueError:  # the error would quote the path, which may not be printable
            raise SecretFileError(self.path, "not a usable path") from None
        except files.FileError as error:
            raise SecretFileError(self.path, str(error), remedy=error.remedy) from None
        return self._content

    def known(self) -> str:
        """Return the secret as last read, without access to its file; empty if never read."""
        return self._value if self.path is None else self._content

    def refresh(self) -> None:
        """Make the next use read the file even if its time stamp and size are unchanged."""
        self._seen = None

    def fingerprint(self) -> str:
        """Return the SHA-256 hash of the secret in hex; empty if its file cannot be read."""
        try:
            content = self.reveal()
        except CallError:
            return ""
        # Cached, since every call to a vendor needs it several times.
        if content != self._hashed[0] or not self._hashed[1]:
            # A value from the environment may not be valid UTF-8.
            hashed = hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()
            self._hashed = content, hashed
        return self._hashed[1]

    @staticmethod
    def _read(path: Path) -> tuple[str, tuple[int, int, int]]:
        file = files.read(path, limit_bytes=LIMIT_BYTES)
        try:
            text = file.content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            why = f"byte {error.start} of it is not UTF-8 text"
            raise files.FileError(path, why, "write the secret into it as UTF-8") from None
        if not text:
            raise files.FileError(path, "it is empty", "write the secret into it")
        return text, _identity(file.status)

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
