"""Certificates and keys: read like any file, and handed to OpenSSL as they were read.

OpenSSL would open whatever a path names: it would wait for a pipe, read a device for ever, and ask
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
    """Make a context for clients that trusts a file's certificates, or those of the system.

    Raises:
        FileError: It cannot be read.
        ssl.SSLError: There is no certificate in it.
    """
    if ca_file is None:
        return ssl.create_default_context()
    with _as_file(files.read(ca_file).content) as copy:
        return ssl.create_default_context(cafile=copy)


def load_pair(context: ssl.SSLContext, cert_file: Path, key_file: Path | None) -> None:
    """Show the other side the certificate of a file; its key is in the same one unless given.

    Raises:
        FileError: One of the files cannot be read.
        ssl.SSLError: They do not fit, have a passphrase, or are none.
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
    """Show the other side a certificate.

    Args:
        context: Of all connections.
        cert: The certificate and its chain, PEM.
        key: Its key, PEM; in the same text unless given.
        passphrase: Asked for the key's, in place of the terminal.

    Raises:
        ssl.SSLError: They do not fit, or are none.
    """
    with ExitStack() as copies:
        cert_path = copies.enter_context(_as_file(cert))
        key_path = None if key is None else copies.enter_context(_as_file(key))
        context.load_cert_chain(cert_path, key_path, password=passphrase)


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Offer bytes under a path, since the TLS library loads certificates only from one."""
    if hasattr(os, "memfd_create"):  # in memory, where a container has nothing to write to
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
