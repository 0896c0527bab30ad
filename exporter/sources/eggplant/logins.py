"""How to ask for a token: the documented logins, told apart by their URL (reference, section B1).

====================================================  ========================================
`…/realms/{realm}/protocol/openid-connect/token`      form: client credentials grant
`…/api/v1/auth`, `…/api/v2/auth`                      JSON: client id and secret
`…/auth`, `…/ai/auth`                                 form: user name and password
====================================================  ========================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlencode

import msgspec

from exporter.config.secret import Secret
from exporter.http import Call
from exporter.sources.eggplant.settings import EggplantSettings, is_public_api


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A call that answers with a token.

    Attributes:
        fields: What it sends beside the secret.
        sent_as: The name under which the secret is sent.
    """

    url: str
    fields: Mapping[str, str]
    sent_as: str
    secret: Secret
    encoding: Literal["form", "json"] = "form"

    def call(self, operation: str) -> Call:
        """Make the call with the secret as it is now.

        It is not repeated on its own, since each login can use up a licence.

        Raises:
            CallError: The secret's file cannot be read.
        """
        data = {**self.fields, self.sent_as: self.secret.reveal()}
        if self.encoding == "json":
            content_type, content = "application/json", msgspec.json.encode(data)
        else:
            content_type, content = "application/x-www-form-urlencoded", urlencode(data).encode()
        return Call(
            operation=operation,
            method="POST",
            url=self.url,
            headers={"content-type": content_type, "accept": "application/json"},
            content=content,
            repeatable=False,
        )


def login_of(settings: EggplantSettings) -> Login | None:
    """Return the configured login, `None` where the token itself is given."""
    auth = settings.auth
    if auth.token_url is not None:
        url = settings.endpoint(auth.token_url)
        client = {"client_id": auth.client_id or ""}
        public = is_public_api(url)
        return Login(
            url=url,
            fields=client if public else {"grant_type": "client_credentials", **client},
            sent_as="client_secret",
            secret=auth.secret,
            encoding="json" if public else "form",
        )
    if auth.login_url is not None:
        return Login(
            url=settings.endpoint(auth.login_url),
            fields={"username": auth.username or ""},
            sent_as="password",
            secret=auth.secret,
        )
    return None
