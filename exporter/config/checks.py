"""Checks of settings that several sections have: secrets and files for TLS."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from exporter.config.secret import Secret, SecretFileError, fits_header, is_text
from exporter.config.validation import Mistake


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import BaseModel


#: Secrets that may hold any character, since they are encoded before they are sent.
_ENCODED = frozenset({"password", "proxy_url", "heartbeat_url"})

_UNFIT = (
    "holds what no HTTP header can carry, such as a line break or a space at an end;"
    " give the secret alone, on one line of plain characters"
)


def tls_mistakes(
    ca_file: Path | None, client_cert_file: Path | None, client_key_file: Path | None
) -> Iterator[Mistake]:
    """Yield what keeps TLS material from being used, by the names of the three fields."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            yield Mistake(
                ("ca_file",), _why(error, "must hold certificates in PEM format", ca_file)
            )
    if client_key_file and not client_cert_file:
        yield Mistake(
            ("client_key_file",),
            "has no certificate; give client_cert_file too",
            ("client_key_file", "client_cert_file"),
        )
    if client_cert_file:
        files = [path for path in (client_cert_file, client_key_file) if path]
        try:
            # Without a password of ours, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(client_cert_file, client_key_file, password="")
        except OSError as error:
            wanted = "must hold a certificate in PEM format that fits its key, not encrypted"
            unread = next((path for path in files if not os.access(path, os.R_OK)), files[0])
            yield Mistake(
                ("client_cert_file",),
                _why(error, wanted, unread),
                ("client_cert_file", "client_key_file"),
            )


def secret_mistakes(settings: BaseModel, field: str, *, required: bool = True) -> Iterator[Mistake]:
    """Yield what is wrong with a secret that is given as `field` or as `field_file`.

    Args:
        settings: The model that has the two fields.
        field: The field with the value.
        required: True if one of them has to be given.
    """
    file_field = f"{field}_file"
    value, file = getattr(settings, field), getattr(settings, file_field)
    place, text = field, ""
    if value is not None and file is not None:
        place, text = file_field, f"stands beside {field}; remove one of the two"
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
    """Return why a secret cannot be used, empty if it can."""
    if not content:
        return f"is empty; give it, or {field}_file"
    fits = is_text if field in _ENCODED else fits_header
    return "" if fits(content) else _UNFIT


def _why(error: OSError, wanted: str, path: Path) -> str:
    """Say why a file cannot be used, without the text of OpenSSL's error."""
    if isinstance(error, ssl.SSLError):
        return wanted
    return f"cannot read {path} ({error.strerror or 'unknown error'}); correct the path"
