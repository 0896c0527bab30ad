"""A pager, a chat, a mail server and webhooks that keep Alertmanager's notifications."""

from __future__ import annotations

import asyncio
import email.policy
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporter.simulator.server import serve


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


class Notification(NamedTuple):
    """A notification as a receiver gets it.

    Attributes:
        kind: `pagerduty`, `slack`, `mail` or `webhook`.
        to: The channel, address or hook.
        resolved: Whether the notification says that all its alerts have ended.
        title: The title, as a telephone shows it.
        text: The text below the title.
        links: The addresses beside the text.
        key: The pager's key of the incident.
    """

    kind: str
    to: str
    resolved: bool
    title: str
    text: str
    links: tuple[str, ...] = ()
    key: str = ""


class Receivers:
    """Takes notifications of all kinds.

    Attributes:
        told: All notifications, in order.
        url: The URL of the pager, the chat and the hooks.
        smarthost: Host and port of the mail server.
    """

    def __init__(self) -> None:
        self.told: list[Notification] = []
        self.url = ""
        self.smarthost = ""

    def about(self, name: str, kind: str = "") -> list[Notification]:
        """Return the notifications that contain a name, of one kind or of all."""
        return [
            one
            for one in self.told
            if name in " ".join((one.title, one.text, *one.links)) and kind in ("", one.kind)
        ]

    async def pagerduty(self, request: Request) -> Response:
        event = await request.json()
        payload = event["payload"]
        details = payload["custom_details"]
        self.told.append(
            Notification(
                "pagerduty",
                payload["severity"],
                event["event_action"] == "resolve",
                payload["summary"],
                details["firing"] + details["resolved"],
                (event["client_url"], *(one["href"] for one in event.get("links", ()))),
                event["dedup_key"],
            )
        )
        return JSONResponse({"status": "success"}, 202)

    async def slack(self, request: Request) -> Response:
        message = await request.json()
        (attachment,) = message["attachments"]
        self.told.append(
            Notification(
                "slack",
                message["channel"],
                attachment["color"] == "good",
                attachment["title"],
                attachment["text"],
                (attachment["title_link"], *(one["url"] for one in attachment["actions"])),
                attachment["fallback"],
            )
        )
        return Response("ok")

    async def hook(self, request: Request) -> Response:
        message = await request.json()
        annotations = [one["annotations"] for one in message["alerts"]]
        self.told.append(
            Notification(
                "webhook",
                request.path_params["name"],
                message["status"] == "resolved",
                "\n".join(one.get("summary", "") for one in annotations),
                json.dumps(message["alerts"]),
            )
        )
        return Response()

    async def mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak as much SMTP as Alertmanager needs."""
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            if line.startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                self._mailed(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 ok\r\n")
        writer.close()

    def _mailed(self, data: bytes) -> None:
        message: Any = email.message_from_bytes(data, policy=email.policy.default)
        text = message.get_body(("plain",)).get_content()
        subject = message["Subject"]
        self.told.append(
            Notification("mail", message["To"], subject.startswith("RESOLVED"), subject, text)
        )


@asynccontextmanager
async def receivers() -> AsyncIterator[Receivers]:
    """Run receivers while the context lasts."""
    everybody = Receivers()
    app = Starlette(
        routes=[
            Route("/pagerduty", everybody.pagerduty, methods=["POST"]),
            Route("/slack", everybody.slack, methods=["POST"]),
            Route("/hook/{name}", everybody.hook, methods=["POST"]),
        ]
    )
    mail = await asyncio.start_server(everybody.mail, "127.0.0.1", 0)
    async with mail, serve(app) as url:
        everybody.url = url
        everybody.smarthost = f"127.0.0.1:{mail.sockets[0].getsockname()[1]}"
        yield everybody
