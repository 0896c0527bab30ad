"""Certificates and keys: read safely by `exporter.config.files`, then passed to OpenSSL.

OpenSSL itself would open any path: it would block on a pipe, read a device without end, and ask
the terminal for a passphrase.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from exporter.config import files


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return a client context that trusts the certificates of a file, or those of the system.

    Raises:
        FileError: The file cannot be read.
        ssl.SSLError: The file contains no certificate.
    """
    if ca_file is None:
        return ssl.create_default_context()
    with _as_file(files.read(ca_file).content) as copy:
        return ssl.create_default_context(cafile=copy)


def load_pair(context: ssl.SSLContext, cert_file: Path, key_file: Path | None) -> None:
    """Load our certificate and key from files. Without a key file, both are in one file.

    Raises:
        FileError: A file cannot be read.
        ssl.SSLError: The files contain no certificate or key, these do not match, or the key has
            a passphrase.
    """
    load_chain(
        context,
        files.read(cert_file).content,
        None if key_file is None else files.read(key_file).content,
    )


def load_chain(
    context: ssl.SSLContext,
    cert: bytes,
    key: bytes | None,
    passphrase: Callable[[], str] = str,
) -> None:
    """Load our certificate and key from PEM texts.

    Args:
        context: The context of all connections.
        cert: The certificate and its chain, PEM.
        key: The key, PEM; by default it is in the same text.
        passphrase: Returns the key's passphrase, instead of a prompt on the terminal.

    Raises:
        ssl.SSLError: The texts contain no certificate or key, or these do not match.
    """
    with ExitStack() as copies:
        cert_path = copies.enter_context(_as_file(cert))
        key_path = None if key is None else copies.enter_context(_as_file(key))
        context.load_cert_chain(cert_path, key_path, password=passphrase)


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Yield a path to a temporary file with the bytes, since OpenSSL's API takes only paths."""
    if hasattr(os, "memfd_create"):  # in memory, since a container may have no writable folder
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile() as temporary:
            temporary.write(content)
            temporary.flush()
            yield temporary.name
