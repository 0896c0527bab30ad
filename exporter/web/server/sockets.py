"""Sockets that listen, or one error that says which address cannot be listened on and why."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

from exporter.config.address import Address
from exporter.errors import StartError


if TYPE_CHECKING:
    from collections.abc import Sequence

    _Place = tuple[Any, ...]  # what bind takes: two items for IPv4, four for IPv6

_REMEDIES = {
    errno.EADDRINUSE: "the port is in use; stop what uses it or set another web.listen_address",
    errno.EACCES: "not permitted; ports below 1024 need a privilege, set a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address; set another web.listen_address",
    errno.EAFNOSUPPORT: "this machine has no such kind of address; set another web.listen_address",
}

BACKLOG = 128


def listen(addresses: Sequence[Address]) -> list[socket.socket]:
    """Bind and listen on every address, or on none.

    `[::]` takes IPv4 as well, unless another address claims the same port for IPv4.

    Raises:
        StartError: An address cannot be listened on; the message says which and what to do.
    """
    ports = Counter(address.port for address in addresses if address.port)
    sockets: list[socket.socket] = []
    for address in addresses:
        try:
            family, place = _resolve(address)
            sockets.append(_listen(family, place, dual=ports[address.port] < 2))
        except OSError as error:
            for bound in sockets:
                bound.close()
            why = _REMEDIES.get(error.errno or 0) or error.strerror or str(error)
            raise StartError(f"cannot listen on {address}: {why}") from error
    return sockets


def bound_address(sock: socket.socket) -> Address:
    """Return where a socket listens."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def _resolve(address: Address) -> tuple[socket.AddressFamily, _Place]:
    if not address.host:
        return _everywhere(), ("", address.port)
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    # A name with addresses of both kinds stands for one of them; IPv4 is the safer bet.
    family, _, _, _, place = min(found, key=lambda info: info[0] is not socket.AF_INET)
    return family, place


def _everywhere() -> socket.AddressFamily:
    return socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET


def _listen(family: socket.AddressFamily, place: _Place, *, dual: bool) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the protocol is stated; with it, every answer
    # would wait 40 ms for the client's delayed acknowledgement.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        sock.bind(place)
        # Only this, not bind, finds out that the port is taken by a socket that reuses addresses.
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
