"""Sources that may ask for a name and a password (RFC 7617), and often ask for nothing."""

from __future__ import annotations

import base64
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, SecretStr

from exporter.config.checks import secret_mistakes
from exporter.config.secret import Secret
from exporter.config.types import FilePath
from exporter.config.validation import Mistake
from exporter.sources.settings import SourceSettings


if TYPE_CHECKING:
    from collections.abc import Iterator


class BasicSettings(SourceSettings):
    """Settings with a name and a password, both or neither.

    Attributes:
        username: Who the exporter is; without it nothing is sent.
        password: The password.
        password_file: A file with it.
    """

    username: Annotated[str, Field(min_length=1, pattern="^[^:]+$")] | None = None
    password: SecretStr | None = None
    password_file: FilePath | None = None

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        yield from super().mistakes()
        yield from secret_mistakes(self, "password", required=False)
        if self.username is None and self.credential is not None:
            yield Mistake(("username",), "is missing; it belongs to password")
        if self.username is not None and self.credential is None:
            yield Mistake(("password",), "is missing; give password_file, or leave out username")

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret of the source."""
        yield from super().secrets()
        if self.credential is not None:
            yield self.credential

    @cached_property
    def credential(self) -> Secret | None:
        """The password, `None` where nothing is asked for."""
        if self.password is None and self.password_file is None:
            return None
        return Secret(self.password, self.password_file)

    def fingerprint(self) -> str:
        """Return a hash of the password as it is now; empty without one."""
        return "" if self.credential is None else self.credential.fingerprint()

    def authorization(self) -> dict[str, str]:
        """Return the header that a call is sent with, none without a password.

        Raises:
            CallError: The password's file cannot be read.
        """
        if self.credential is None:
            return {}
        pair = f"{self.username}:{self.credential.reveal()}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
