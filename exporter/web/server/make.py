"""From the settings to the server: addresses or inherited sockets, and the gate in front."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from exporter.web.access.middleware import Gate
from exporter.web.access.security import WebSecurity
from exporter.web.server import systemd
from exporter.web.server.address import parse_address
from exporter.web.server.uvicorn_server import WebServer


if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp

    from exporter.clock import Clock
    from exporter.settings.sections import WebSettings


def make_server(
    app: ASGIApp, web: WebSettings, *, clock: Clock, environ: Mapping[str, str] = os.environ
) -> WebServer:
    """Make the server of an app; it listens once it is started.

    Args:
        app: What answers those who are let in.
        web: The settings.
        clock: For the rate limit and the age of files.
        environ: Where systemd tells of its sockets.

    Raises:
        ConfigurationError: The web configuration file or what it names is wrong.
    """
    addresses = [parse_address(text) for text in web.listen_address]
    sockets = (lambda: systemd.inherited(environ, pid=os.getpid())) if web.systemd_socket else None
    if web.config_file is None:
        return WebServer(app, addresses, sockets=sockets)
    security = WebSecurity(web.config_file, clock=clock)
    gate = Gate(app, security, route_prefix=web.route_prefix)
    return WebServer(gate, addresses, tls=security.context, sockets=sockets)
