"""The API key: an id and a secret, given apart or together in the vendor's key file."""

from __future__ import annotations

import base64
import hashlib

import msgspec

from exporter.config.secret import HIDDEN, Secret
from exporter.errors import CallError, Reason


class _KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file the vendor hands out: `{"id": "…", "secret": "…"}` (reference section B1)."""

    id: str
    secret: str


class Credentials:
    """An API key that follows its files."""

    def __init__(
        self,
        *,
        key_id: Secret | None = None,
        key_secret: Secret | None = None,
        key_file: Secret | None = None,
    ) -> None:
        """Take the id and the secret, or the file with both."""
        self._id = key_id or Secret()
        self._secret = key_secret or Secret()
        self._file = key_file

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What it is made of."""
        return (self._id, self._secret) if self._file is None else (self._file,)

    def authorization(self) -> str:
        """Return the value of the `Authorization` header.

        Raises:
            CallError: A file cannot be read or is no key file; the message names its path.
        """
        key = base64.b64encode(":".join(self._pair()).encode()).decode()
        return f"Basic {key}"

    def fingerprint(self) -> str:
        """Return a hash of the key, empty while it cannot be read."""
        try:
            content = "\n".join(self._pair())
        except CallError:
            return ""
        return hashlib.sha256(content.encode()).hexdigest()

    def refresh(self) -> None:
        """Read files again at the next use."""
        for secret in self.secrets:
            secret.refresh()

    def _pair(self) -> tuple[str, str]:
        if self._file is None:
            return self._id.reveal(), self._secret.reveal()
        key = _parsed(self._file.reveal())
        if key is None:
            raise CallError(
                Reason.AUTH,
                f'the key file {self._file.path} does not hold {{"id": "…", "secret": "…"}}',
            )
        return key.id, key.secret

    def __repr__(self) -> str:
        return HIDDEN


def _parsed(content: str) -> _KeyFile | None:
    """Return the key; not raised from here, since the cause would quote the file."""
    try:
        key = msgspec.json.decode(content, type=_KeyFile)
    except (msgspec.DecodeError, RecursionError):
        return None
    return key if key.id and key.secret and ":" not in key.id else None
