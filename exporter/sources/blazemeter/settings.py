"""Settings of a BlazeMeter account, with its API key.

The key consists of an id and a secret, configured separately or as the vendor's key file.
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
    """The content of the key file that the vendor issues: `{"id": "…", "secret": "…"}`."""

    id: str = ""
    secret: str = ""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, from an id and a secret or from a key file; changed files take effect."""

    key_id: Secret = Secret()
    key_secret: Secret = Secret()
    key_file: Secret | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The configured secrets."""
        return (self.key_id, self.key_secret) if self.key_file is None else (self.key_file,)

    def authorization(self) -> str:
        """Return the value of the `Authorization` header.

        Raises:
            CallError: A file cannot be read or is not a key file; the message names its path.
        """
        key = base64.b64encode(":".join(self._pair()).encode()).decode()
        return f"Basic {key}"

    def fingerprint(self) -> str:
        """Return a hash of the key; empty while the key cannot be read."""
        try:
            content = "\n".join(self._pair())
        except CallError:
            return ""
        return hashlib.sha256(content.encode()).hexdigest()

    def refresh(self) -> None:
        """Make the next use read the files again."""
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
        # Raised outside the handler, because a chained cause would quote the file.
        raise CallError(
            Reason.AUTH,
            f'the key file {self.key_file.path} does not hold {{"id": "…", "secret": "…"}}',
        )

    def __repr__(self) -> str:
        return HIDDEN


class BlazeMeterSettings(SourceSettings):
    """The settings of one API key, with the workspaces and runs to watch.

    Attributes:
        url: The URL of the API.
        api_key_id: The API key's id.
        api_key_secret: The API key's secret.
        api_key_secret_file: A file that holds the secret.
        api_key_file: The vendor's key file with id and secret, in place of the other `api_key`
            settings.
        workspaces: The ids of the workspaces whose runs and private locations are watched.
        masters: The ids of runs to watch in addition to those of the workspaces.
        heartbeat_max_age: An agent is down if its last heartbeat is older, by the vendor's clock.
        min_agent_version: An agent with an older version is outdated.
        run_linger: How long a run is shown after its end.
        lookback: Runs that ended longer ago are forgotten. The first listing of a workspace reads
            back this far, at most 1,000 runs; later listings read only newer runs.
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
        """Yield mistakes in combinations of fields that are valid on their own."""
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
        """Return the seconds between polls of a task, `None` if the task is off.

        The task `agents` is off if there are no workspaces.
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
