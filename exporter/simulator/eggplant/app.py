"""The simulated Eggplant DAI server: agents' connections, runs, and the ways to get a token.

`portal.token` is a token that never expires. A login returns a token with the lifetime of its
scheme. Replacing `portal.token` revokes all tokens of logins, and while it is `None` no login
succeeds. The number of licences, the lifetime of tokens and the existence of the status endpoint
are set in the table `servers`, see `Server`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.applications import Starlette
from starlette.routing import Route

from exporter.clock import SYSTEM_CLOCK, Clock
from exporter.simulator.vendor import JsonResponse, Portal, caller_of


if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from exporter.simulator.eggplant.lab import Lab
    from exporter.simulator.options import SimulatorOptions

STATUS_PATH: Final = "/api/sut/status"
PROGRESS_PATH: Final = "/api/run/progress"
ACCESS_TOKEN: Final = "simulated-eggplant-token"  # noqa: S105 - invented, opens nothing
CLIENT: Final = {"client_id": "simulated-client", "client_secret": "simulated-client-secret"}
USER: Final = {"username": "simulated-user", "password": "simulated-password"}


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """A way to log in.

    Attributes:
        wanted: The valid credentials, by parameter.
        form: Whether the body is a form; otherwise it is JSON.
        life_seconds: Lifetime of a token.
        more: Additional fields of the reply.
    """

    wanted: dict[str, str]
    form: bool = True
    life_seconds: float = 3600
    more: dict[str, Any] = {}


REALM_PATH: Final = "/auth/realms/eggplant/protocol/openid-connect/token"
SCHEMES: Final = {
    "/auth": Scheme(wanted=USER, more={"token_type": "bearer"}),
    "/ai/auth": Scheme(
        wanted=USER,
        life_seconds=604_800,
        more={"user_id": "00000000-0000-4000-8000-000000000001"},
    ),
    REALM_PATH: Scheme(
        wanted={"grant_type": "client_credentials", **CLIENT},
        life_seconds=300,
        more={
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "not-before-policy": 0,
            "scope": "email template:dai:agents profile",
        },
    ),
    "/api/v1/auth": Scheme(wanted=CLIENT, form=False, life_seconds=600),
    "/api/v2/auth": Scheme(wanted=CLIENT, form=False, life_seconds=600),
}


class _Login(msgspec.Struct, frozen=True, kw_only=True):
    root: str
    expires: float


class _Tokens:
    """The tokens from logins."""

    def __init__(self, lab: Lab, portal: Portal) -> None:
        self._server = lab.servers["main"]
        self._portal = portal
        self._logins: dict[str, _Login] = {}
        self._issued = 0

    def is_valid(self, token: str) -> bool:
        """Return whether a token is valid now."""
        if self._portal.token is None:
            return False
        return token == self._portal.token or token in self._alive()

    def log_in(self, scheme: Scheme, given: dict[str, Any], caller: str) -> Response:
        """Return the response to a login."""
        if any(name not in given for name in scheme.wanted):
            return _message(400, "Parameter missing")
        root = self._portal.token
        if root is None or any(given[name] != text for name, text in scheme.wanted.items()):
            self._portal.refuse(caller)
            return _message(401, "Unauthorized")
        licences = self._server.licences
        if licences is not None and len(self._alive()) >= licences:
            return _message(403, "Not enough available concurrent user licenses")
        lifetime = self._server.life_seconds or scheme.life_seconds
        self._issued += 1
        token = f"simulated-login-token-{self._issued}"
        expires = self._portal.clock.monotonic() + lifetime
        self._logins[token] = _Login(root=root, expires=expires)
        return JsonResponse({"access_token": token, "expires_in": int(lifetime), **scheme.more})

    def _alive(self) -> dict[str, _Login]:
        now = self._portal.clock.monotonic()
        self._logins = {
            token: login
            for token, login in self._logins.items()
            if login.root == self._portal.token and now < login.expires
        }
        return self._logins


def app(lab: Lab, options: SimulatorOptions, clock: Clock = SYSTEM_CLOCK) -> Starlette:
    """Return the application; `state.portal` is its portal."""
    portal = Portal(lab, options, clock, ACCESS_TOKEN)
    tokens = _Tokens(lab, portal)
    routes = [
        Route(STATUS_PATH, _status(lab, portal, tokens), methods=["POST"]),
        Route(PROGRESS_PATH, _progress(lab, portal, tokens), methods=["POST"]),
        Route("/ai/agents", _agents(lab, portal, tokens), methods=["GET"]),
        *(
            Route(path, _login(portal, tokens, scheme), methods=["POST"])
            for path, scheme in SCHEMES.items()
        ),
        Route("/{rest:path}", _other(portal), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]
    application = Starlette(routes=[portal.route(), *routes])
    application.state.portal = portal
    return application


_Endpoint = Callable[["Request"], Any]


def _status(lab: Lab, portal: Portal, tokens: _Tokens) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        async def work() -> Response:
            if not lab.servers["main"].status_offered:
                return _message(404, "Not Found")
            if not _is_authorized(request, portal, tokens):
                return _message(401, "Unauthorized")
            await portal.reach(up=True, delay_seconds=None)
            return JsonResponse(lab.connections())

        return await portal.answer("sut_status", work)

    return endpoint


def _progress(lab: Lab, portal: Portal, tokens: _Tokens) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await request.body()

        async def work() -> Response:
            if not _is_authorized(request, portal, tokens):
                return _message(401, "Unauthorized")
            given = dict(parse_qsl(body.decode(errors="replace")))
            if "id" not in given and "modelName" not in given:
                return _message(400, "Parameter missing")
            await portal.reach(up=True, delay_seconds=None)
            wanted = {"id": given["id"]} if "id" in given else {"modelname": given["modelName"]}
            runs = lab.runs(**wanted)
            for run in runs:
                del run["runid"]
            # The vendor does not document the response for an unknown id.
            return JsonResponse(runs[0] if runs and "id" in given else runs)

        return await portal.answer("run_progress", work)

    return endpoint


def _agents(lab: Lab, portal: Portal, tokens: _Tokens) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        async def work() -> Response:
            if not _is_authorized(request, portal, tokens):
                return _message(401, "Unauthorized")
            return JsonResponse(
                [
                    {
                        "id": number,
                        "name": name,
                        "agenttype": "RUN",
                        "suite": "",
                        "recordpath": "",
                        "epphost": "",
                        "epptestcontrollerport": 0,
                        "eppanalyzerport": 0,
                        "eppworkspacepath": "",
                    }
                    for number, name in enumerate(lab.names(), start=1)
                ]
            )

        return await portal.answer("agents", work)

    return endpoint


def _login(portal: Portal, tokens: _Tokens, scheme: Scheme) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await request.body()

        async def work() -> Response:
            try:
                given = _parameters(scheme, request.headers.get("Content-Type", ""), body)
            except ValueError:
                return _message(400, "Invalid body")
            return tokens.log_in(scheme, given, caller_of(request))

        return await portal.answer("login", work)

    return endpoint


def _parameters(scheme: Scheme, content_type: str, body: bytes) -> dict[str, Any]:
    """Return the parameters of a login.

    Raises:
        ValueError: The body has another content type than the scheme.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind != ("application/x-www-form-urlencoded" if scheme.form else "application/json"):
        raise ValueError("wrong content type")
    if scheme.form:
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    return msgspec.json.decode(body, type=dict[str, Any])


def _other(portal: Portal) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        async def work() -> Response:
            if request.method != "GET":
                portal.violations.append(f"{request.method} {request.url.path}")
            return _message(404, "Not Found")

        return await portal.answer("unknown", work)

    return endpoint


def _is_authorized(request: Request, portal: Portal, tokens: _Tokens) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and tokens.is_valid(token):
        return True
    portal.refuse(caller_of(request))
    return False


def _message(status: int, text: str) -> Response:
    return JsonResponse({"message": text}, status_code=status)
