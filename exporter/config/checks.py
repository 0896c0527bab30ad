"""Checks that several sections share: of secrets and TLS files."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from exporter.config import pem
from exporter.config.files import FileError
from exporter.config.secret import (
    UNRESOLVED,
    Secret,
    SecretFileError,
    fits_header,
    is_placeholder,
    is_text,
)
from exporter.config.validation import Mistake


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import BaseModel


#: Secrets that may contain any character, since they are encoded before they are sent.
_ENCODED = frozenset({"password", "proxy_url", "heartbeat_url"})

_UNFIT = (
    "has characters that no HTTP header can carry, such as a line break or a space at an end;"
    " give only the secret, on one line of ASCII characters"
)


def tls_mistakes(
    ca_file: Path | None, client_cert_file: Path | None, client_key_file: Path | None
) -> Iterator[Mistake]:
    """Yield mistakes in TLS files, under the names of the three fields."""
    if ca_file:
        try:
            pem.trusting(ca_file)
        except FileError as error:
            yield Mistake(("ca_file",), _unread(error))
        except OSError:
            yield Mistake(("ca_file",), "must hold certificates in PEM format")
    if client_key_file and not client_cert_file:
        yield Mistake(
            ("client_key_file",),
            "has no certificate; give client_cert_file too",
            ("client_key_file", "client_cert_file"),
        )
    if client_cert_file:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            pem.load_pair(context, client_cert_file, client_key_file)
        except (FileError, OSError) as error:
            text = "must contain a certificate in PEM format that matches its unencrypted key"
            if isinstance(error, FileError):
                text = _unread(error)
            yield Mistake(("client_cert_file",), text, ("client_cert_file", "client_key_file"))


def secret_mistakes(settings: BaseModel, field: str, *, required: bool = True) -> Iterator[Mistake]:
    """Yield mistakes in a secret that can be given as `field` or as `field_file`.

    Args:
        settings: The model with the two fields.
        field: The name of the field for the value.
        required: Whether one of the two must be given.
    """
    file_field = f"{field}_file"
    value, file = getattr(settings, field), getattr(settings, file_field)
    place, text = field, ""
    if value is not None and file is not None:
        place, text = file_field, f"is given as well as {field}; remove one of the two"
    elif file is not None:
        place = file_field
        try:
            text = _secret_fault(field, Secret(None, file).reveal())
        except SecretFileError as error:
            text = f"{error}; {error.remedy}"
    elif value is not None:
        text = _secret_fault(field, value.get_secret_value())
    elif required:
        text = f"is missing; give it, or {file_field}"
    if text:
        yield Mistake((place,), text, (field, file_field))


def _secret_fault(field: str, content: str) -> str:
    """Return the reason why a secret cannot be used; empty if it can."""
    if not content:
        return f"is empty; give it, or {field}_file"
    if is_placeholder(content):
        return UNRESOLVED
    fits = is_text if field in _ENCODED else fits_header
    return "" if fits(content) else _UNFIT


def _unread(error: FileError) -> str:
    return f"cannot read {error.path} ({error}); {error.remedy}"
