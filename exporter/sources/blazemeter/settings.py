"""Settings of a BlazeMeter account, with its API key.

The key is an id and a secret, given apart or together in the vendor's key file.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import msgspec
from pydantic import Field, SecretStr

from exporter.config.checks import secret_mistakes
from exporter.config.secret import HIDDEN, Secret
from exporter.config.types import Duration, FilePath, TimeLimit, Url, Whole
from exporter.config.validation import Mistake
from exporter.errors import CallError, Reason
from exporter.sources.decode import older
from exporter.sources.settings import Name, SourceSettings


Id = Annotated[Whole, Field(ge=1)]


class _KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file the vendor hands out: `{"id": "…", "secret": "…"}`."""

    id: str = ""
    secret: str = ""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """An API key that follows its files: the id and the secret, or the file with both."""

    key_id: Secret = Secret()
    key_secret: Secret = Secret()
    key_file: Secret | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All that are given."""
        return (self.key_id, self.key_secret) if self.key_file is None else (self.key_file,)

    def authorization(self) -> str:
        """Return the value of the `Authorization` header.

        Raises:
            CallError: A file cannot be read or is no key file; the message names its path.
        """
        key = base64.b64encode(":".join(self._pair()).encode()).decode()
        return f"Basic {key}"

    def fingerprint(self) -> str:
        """Return a hash of the key, empty while it cannot be read."""
        try:
            content = "\n".join(self._pair())
        except CallError:
            return ""
        return hashlib.sha256(content.encode()).hexdigest()

    def refresh(self) -> None:
        """Read files again at the next use."""
        for secret in self.secrets:
            secret.refresh()

    def _pair(self) -> tuple[str, str]:
        if self.key_file is None:
            return self.key_id.reveal(), self.key_secret.reveal()
        try:
            key = msgspec.json.decode(self.key_file.reveal(), type=_KeyFile)
        except (msgspec.DecodeError, RecursionError):
            key = _KeyFile()
        if key.id and key.secret and ":" not in key.id:
            return key.id, key.secret
        # Raised outside the handler: the cause would quote the file.
        raise CallError(
            Reason.AUTH,
            f'the key file {self.key_file.path} does not hold {{"id": "…", "secret": "…"}}',
        )

    def __repr__(self) -> str:
        return HIDDEN


class BlazeMeterSettings(SourceSettings):
    """One API key with the workspaces and runs to watch.

    Attributes:
        url: The API; BlazeMeter's own if not given.
        api_key_id: The API key's id.
        api_key_secret: Its secret.
        api_key_secret_file: A file with the secret.
        api_key_file: A file with both id and secret, in place of the others.
        workspaces: Where runs and private locations are discovered.
        masters: Runs that are watched by their id, discovered or not.
        heartbeat_max_age: An agent that was not heard of for longer, by the vendor's clock, is
            down.
        min_agent_version: An agent that is up and older is outdated.
        run_linger: How long a run is shown after its end.
        lookback: Runs that ended longer ago say nothing about their test any more. The first
            listing reads back as far, up to a limit of pages; one after a restart only to the
            newest before it.
    """

    TASKS: ClassVar[Mapping[str, float | None]] = {"runs": 60.0, "agents": 60.0}
    FILTERS: ClassVar[Collection[str]] = ("agents", "locations", "runs", "suites")

    provider: Literal["blazemeter"] = "blazemeter"
    name: Name = "blazemeter"
    url: Url = "https://a.blazemeter.com"
    api_key_id: SecretStr | None = None
    api_key_secret: SecretStr | None = None
    api_key_secret_file: FilePath | None = None
    api_key_file: FilePath | None = None
    workspaces: tuple[Id, ...] = ()
    masters: tuple[Id, ...] = ()
    heartbeat_max_age: TimeLimit = 300.0
    min_agent_version: str | None = None
    run_linger: Duration = 3600.0
    lookback: TimeLimit = 30 * 86_400.0

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        yield from super().mistakes()
        yield from self._key_mistakes()
        if not self.workspaces and not self.masters:
            yield Mistake(
                ("workspaces",),
                "is missing; give the ids of workspaces, or of runs as masters",
                ("workspaces", "masters"),
            )
        if not self.workspaces and self.tasks.get("agents"):
            yield Mistake(
                ("tasks", "agents"),
                "needs workspaces to find agents in; give their ids, or remove it",
                ("tasks", "workspaces"),
            )
        minimum = self.min_agent_version
        if minimum is not None and older(minimum, minimum) is None:
            yield Mistake(("min_agent_version",), "is not a version; write it as 3.6.80")

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret of the source."""
        yield from super().secrets()
        yield from self.credentials.secrets

    def interval_for(self, task: str) -> float | None:
        """Return the seconds between polls of a task, `None` when it is off.

        Agents are found through workspaces, so without any there is nothing to poll.
        """
        if task == "agents" and not self.workspaces:
            return None
        return super().interval_for(task)

    @cached_property
    def credentials(self) -> Credentials:
        """The API key."""
        if self.api_key_file is not None:
            return Credentials(key_file=Secret(None, self.api_key_file))
        return Credentials(
            key_id=Secret(self.api_key_id, None),
            key_secret=Secret(self.api_key_secret, self.api_key_secret_file),
        )

    def _key_mistakes(self) -> Iterator[Mistake]:
        about = ("api_key_file", "api_key_id", "api_key_secret", "api_key_secret_file")
        if self.api_key_file is None:
            yield from secret_mistakes(self, "api_key_secret")
            if self.api_key_id is None or not self.api_key_id.get_secret_value():
                yield Mistake(("api_key_id",), "is missing; give it, or api_key_file with both")
            elif ":" in self.api_key_id.get_secret_value():
                yield Mistake(("api_key_id",), "holds a colon, which no id has; give the id alone")
            return
        if any(getattr(self, field) is not None for field in about[1:]):
            yield Mistake(
                ("api_key_file",),
                "holds both id and secret; remove it or the other api_key settings",
                about,
            )
            return
        try:
            self.credentials.authorization()
        except CallError as error:
            yield Mistake(("api_key_file",), f"{error}; correct the path, its rights or the file")
