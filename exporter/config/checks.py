"""Checks of settings against what Prometheus, TLS and HTTP demand."""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING

from exporter.config.secret import EMPTY, Secret, fits_header, is_text
from exporter.config.validation import Mistake
from exporter.errors import CallError
from exporter.metrics.catalogue import COMMON_LABELS, FAMILIES


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


#: Labels that nobody may add: Prometheus' and those of our own families.
RESERVED_LABELS = frozenset(
    {"job", "instance", "le", "quantile", *COMMON_LABELS}.union(
        *(family.labels for family in FAMILIES)
    )
)

#: Secrets that may hold any character, since they are encoded before they are sent.
_ENCODED = frozenset({"password", "proxy_url"})

_UNFIT = (
    "holds what no HTTP header can carry, such as a line break or a space at an end;"
    " give the secret alone, on one line of plain characters"
)
_WRONG_FILE = "correct the path or its rights"

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def label_mistakes(labels: Mapping[str, str], field: str) -> Iterator[Mistake]:
    """Yield a mistake for every added label that Prometheus or our own series do not allow."""
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name):
            text = "is not a label name; use letters, digits and _, and no digit first"
        elif name in RESERVED_LABELS or name.startswith("__"):
            text = "is a label of the exporter's own or of Prometheus; rename it"
        elif not value:
            text = "is empty, which Prometheus takes for absent; give a value or remove it"
        else:
            continue
        yield Mistake((field, name), text)


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


def secret_fault(field: str, content: str) -> str:
    """Say why a secret that is given as a field cannot be used; empty if it can."""
    if not content:
        return f"is empty; give it, or {field}_file"
    fits = is_text if field in _ENCODED else fits_header
    return "" if fits(content) else _UNFIT


def secret_file_fault(field: str, file: Path) -> str:
    """Say why a file with the secret of a field cannot be used; empty if it can."""
    try:
        return secret_fault(field, Secret.of(None, file).reveal())
    except CallError as error:
        empty = str(error).endswith(EMPTY)
        return f"{error}; {'write the secret into it' if empty else _WRONG_FILE}"


def _why(error: OSError, wanted: str, path: Path) -> str:
    """Say why a file cannot be used, without the text of OpenSSL's error."""
    if isinstance(error, ssl.SSLError):
        return wanted
    return f"cannot read {path} ({error.strerror or 'unknown error'}); correct the path"
