"""Listen addresses in text form."""

from __future__ import annotations

import ipaddress

import msgspec


class Address(msgspec.Struct, frozen=True):
    """A host and a port. An empty host means all addresses of the machine, port 0 any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Return the address written as `host:port`, `[IPv6]:port` or `:port`.

    Raises:
        ValueError: The text has none of these forms.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if (
        not colon
        or not (port.isascii() and port.isdigit() and int(port) < 65_536)
        or bracketed != (":" in bare)
    ):
        raise ValueError(f"{text!r} is not host:port, [IPv6 address]:port or :port")
    return Address(bare, int(port))


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
