"""Certificates made for a test, and clients that trust them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme
import yaml


if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


class Authority:
    """A certificate authority, with a folder of a server's files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.ca = trustme.CA()
        self.path = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.path))

    def issue(self, *names: str, name: str = "server") -> trustme.LeafCert:
        """Write a new certificate and key to `NAME.crt` and `NAME.key`."""
        leaf = self.ca.issue_cert(*(names or ("127.0.0.1", "localhost")))
        (self.folder / f"{name}.crt").write_bytes(chain(leaf))
        (self.folder / f"{name}.key").write_bytes(leaf.private_key_pem.bytes())
        return leaf

    def configure(self, *, tls: dict[str, Any] | None = None, **rest: Any) -> Path:
        """Write a web configuration file for the server's certificate."""
        path = self.folder / "web.yml"
        files = {"cert_file": "server.crt", "key_file": "server.key"}
        path.write_text(yaml.safe_dump({"tls_server_config": files | (tls or {})} | rest))
        return path

    def client(self, leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """Make the context of a client that trusts this authority, with a certificate or not."""
        context = ssl.create_default_context(cafile=str(self.path))
        if leaf is not None:
            leaf.configure_cert(context)
        return context


def chain(leaf: trustme.LeafCert) -> bytes:
    """Return a certificate with its chain, PEM."""
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
