"""Sockets that systemd opened for us."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from exporter.errors import StartError


if TYPE_CHECKING:
    from collections.abc import Mapping


#: Where the sockets begin among the descriptors; the protocol's constant.
FIRST_DESCRIPTOR = 3


def inherited(
    environ: Mapping[str, str], *, pid: int, first_descriptor: int = FIRST_DESCRIPTOR
) -> list[socket.socket]:
    """Return the sockets handed over by systemd, as they are described in sd_listen_fds(3).

    They are copies: closing them leaves the originals open for another start.

    Raises:
        StartError: None was handed over to this process, or one is not for TCP.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid) or not count.isdecimal() or count == "0":
        raise StartError(
            "web.systemd_socket is set, but systemd handed no socket over;"
            " start the service by its .socket unit"
        )
    sockets: list[socket.socket] = []
    for descriptor in range(first_descriptor, first_descriptor + int(count)):
        try:
            os.set_inheritable(descriptor, False)
            sockets.append(socket.socket(fileno=os.dup(descriptor)))
            usable = _listens_for_tcp(sockets[-1])
        except OSError:
            usable = False
        if not usable:
            for sock in sockets:
                sock.close()
            raise StartError(
                f"what systemd handed over as descriptor {descriptor} is no listening TCP socket;"
                " a .socket unit needs ListenStream= with a port, and Accept=no"
            )
    return sockets


def _listens_for_tcp(sock: socket.socket) -> bool:
    for_tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type is socket.SOCK_STREAM
    return for_tcp and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
