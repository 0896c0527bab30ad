"""The records of an account: plan limit, minimum versions, job templates, client certificates.

The expiry of a client certificate is stored only inside the container that holds the private key.
The function that opens the container keeps nothing but the time stamp.
"""

from __future__ import annotations

import asyncio
import base64
import math
from contextlib import suppress
from typing import Any, Literal

import msgspec
from cryptography.hazmat.primitives.serialization import pkcs12

from exporter.errors import BlockedError, PollError
from exporter.fleet.readings import Account, Certificate, MinVersion, Template
from exporter.sources.base import Failure, Poll
from exporter.sources.memory import moment_of, remembered, unix_of
from exporter.sources.realload import actions
from exporter.sources.realload.client import RealLoadClient, Trace
from exporter.sources.realload.inventory import wanted_items
from exporter.sources.realload.replies import TemplateInfo, flag, limit, secret_text


_ACCOUNT = "account"
_RECORDER = "proxy_recorder"
_VERSIONS: dict[str, actions.Action[Any]] = {
    "measuring_agent": actions.MIN_AGENT_VERSION,
    "cluster_controller": actions.MIN_CONTROLLER_VERSION,
    _RECORDER: actions.MIN_RECORDER_VERSION,
}

# When the task `versions` is off, the recorders' poll reads their minimum version itself: once per
# `_KNOWN_SECONDS`, after a failure once per `_RETRY_SECONDS`.
_KNOWN_SECONDS = 3600.0
_RETRY_SECONDS = 600.0

_NEVER = (-math.inf, None)

_LIMIT_KEY = "maxDurationPerLoadJob"
_DEEPEST = 20


class _Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A minimum version, or the plan's limit in seconds, where -1 means unlimited."""

    read_at: float
    version: str | None = None
    limit: float | None = None


class AccountMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that outlive the process; times are Unix timestamps."""

    version: Literal[1]
    facts: dict[str, _Fact]
    recorders_asked_at: float | None


class AccountFacts:
    """The minimum versions and the limit of the price plan; these values rarely change."""

    def __init__(self, client: RealLoadClient) -> None:
        self._client = client
        #: Each reading with the time at which it was read, in monotonic seconds.
        self._kept: dict[str, tuple[float, Account | MinVersion]] = {}
        self._recorders_asked_at = -math.inf
        for task in ("versions", "recorders"):
            memory = remembered(client, task, AccountMemory)
            if memory is not None:
                self._recall(memory)

    def memory(self) -> bytes:
        """Return the memory of the tasks `versions` and `recorders`, as JSON."""
        now, asked_at = self._client.context.clock.now(), self._recorders_asked_at
        facts: dict[str, _Fact] = {}
        for key, (read_at, reading) in self._kept.items():
            at = unix_of(read_at, now)
            if isinstance(reading, MinVersion):
                facts[key] = _Fact(read_at=at, version=reading.version)
            else:
                seconds = reading.job_duration_limit_seconds
                facts[key] = _Fact(read_at=at, limit=-1 if seconds == math.inf else seconds)
        asked = unix_of(asked_at, now) if math.isfinite(asked_at) else None
        return msgspec.json.encode(AccountMemory(version=1, facts=facts, recorders_asked_at=asked))

    def _recall(self, memory: AccountMemory) -> None:
        """Restore the remembered facts that are newer than the known ones."""
        now = self._client.context.clock.now()
        for key, fact in memory.facts.items():
            reading: Account | MinVersion
            if key == _ACCOUNT:
                reading = Account(job_duration_limit_seconds=limit(fact.limit))
            elif key in _VERSIONS and fact.version:
                reading = MinVersion(component=key, version=fact.version)
            else:
                continue
            read_at = moment_of(fact.read_at, now).monotonic
            if read_at >= self._kept.get(key, _NEVER)[0]:
                self._kept[key] = read_at, reading
        if memory.recorders_asked_at is not None:
            asked_at = moment_of(memory.recorders_asked_at, now).monotonic
            self._recorders_asked_at = max(self._recorders_asked_at, asked_at)

    async def poll(self) -> Poll:
        """Read all facts; a fact that cannot be read keeps its value until it is stale.

        Returns:
            The known facts, and a failure for each call that failed.

        Raises:
            PollError: No fact could be read.
        """
        keys = (*_VERSIONS, _ACCOUNT)
        errors: list[PollError] = []
        answered = False
        for key in keys:
            try:
                await self._ask(key)
                answered = True
            except PollError as error:
                errors.append(error)
                if isinstance(error, BlockedError):
                    break  # the guard would hold the other calls back or send a proof for each
        if not answered:
            raise errors[0]
        stale_after = self._client.settings.stale_after_for("versions")
        not_before = self._client.context.clock.monotonic() - stale_after
        kept = [self._kept[key] for key in keys if key in self._kept]
        return Poll(
            readings=tuple(reading for read_at, reading in kept if read_at >= not_before),
            failures=tuple(
                Failure(reason=error.reason, message=str(error), cuts_list=False)
                for error in errors
            ),
            memory=self.memory(),
        )

    async def min_recorder_version(self) -> str | None:
        """Return the minimum version of recorders, reading it if the known one is too old.

        If the call fails, the recorders' poll continues but does not judge whether recorders are
        outdated.
        """
        now = self._client.context.clock.monotonic()
        read_at, _ = self._kept.get(_RECORDER, _NEVER)
        if now - read_at >= _KNOWN_SECONDS and now - self._recorders_asked_at >= _RETRY_SECONDS:
            with suppress(PollError):
                await self._ask(_RECORDER)
        _, reading = self._kept.get(_RECORDER, _NEVER)
        return reading.version if isinstance(reading, MinVersion) else None

    async def _ask(self, key: str) -> None:
        if key == _RECORDER:
            self._recorders_asked_at = self._client.context.clock.monotonic()
        reading: Account | MinVersion | None
        if key == _ACCOUNT:
            reading = await self._plan()
        else:
            action = _VERSIONS[key]
            version = getattr(await self._client.data(action), action.data)
            reading = MinVersion(component=key, version=version) if version else None
        if reading is None:
            self._kept.pop(key, None)
        else:
            self._kept[key] = self._client.context.clock.monotonic(), reading

    async def _plan(self) -> Account | None:
        trace = Trace(keeps_body=True)
        await self._client.call(actions.PRICE_PLAN, trace=trace)
        try:
            value = _found(msgspec.json.decode(trace.body), _DEEPEST)
        except (ValueError, RecursionError):
            value = None
        if value is None:
            self._client.surprise("missing_field")
            return None
        return Account(job_duration_limit_seconds=limit(value))


def _found(value: Any, depth: int) -> float | None:
    """Return the limit from any level of the price plan, whose shape is not documented."""
    if depth == 0 or not isinstance(value, list | dict):
        return None
    if isinstance(value, dict):
        own = value.get(_LIMIT_KEY)
        if isinstance(own, int | float) and not isinstance(own, bool):
            return own
        value = list(value.values())
    return next((found for part in value if (found := _found(part, depth - 1)) is not None), None)


async def poll_templates(client: RealLoadClient) -> Poll:
    """Read all job templates.

    Returns:
        The name and the portal's health verdict of each template.

    Raises:
        PollError: The call failed.
    """
    reply = await client.data(actions.TEMPLATES)
    listed = (
        (info.template_id, info.template_name, item)
        for item in reply.testjob_templates_array or ()
        for info in (item.testjob_template or TemplateInfo(),)
    )
    return Poll(
        readings=tuple(
            Template(template_id=template_id, template=name, healthy=item.test_is_healthy)
            for template_id, name, item in wanted_items(client, "templates", listed)
        )
    )


async def poll_certificates(client: RealLoadClient) -> Poll:
    """Read all client certificates of the recorders.

    Returns:
        The host and the expiry of each certificate.

    Raises:
        PollError: The call failed.
    """
    reply = await client.data(actions.CERTIFICATES)
    listed = (
        (item.certificate_id, item.cert_description, item)
        for item in reply.client_certificates_array or ()
    )
    certificates = []
    for certificate_id, name, item in wanted_items(client, "certificates", listed):
        # In a thread, because deriving the container's key is slow on purpose.
        not_after = await asyncio.to_thread(_expiry, item.cert_file_data_b64, item.cert_password)
        if not_after is None:
            client.surprise("type")
        certificates.append(
            Certificate(
                certificate_id=certificate_id,
                certificate=name,
                host=item.apply_for_host or "",
                active=flag(item.cert_active),
                not_after_timestamp_seconds=not_after,
            )
        )
    return Poll(readings=tuple(certificates))


def _expiry(container: msgspec.Raw, password: msgspec.Raw) -> float | None:
    """Return the expiry of a PKCS#12 container's certificate as a Unix timestamp.

    Returns `None` if the container cannot be opened. Errors are not passed on, because their texts
    and tracebacks could quote the container's content.
    """
    try:
        opened = pkcs12.load_pkcs12(
            base64.b64decode(secret_text(container) or "", validate=True),
            (secret_text(password) or "").encode() or None,
        )
        found = [each.certificate for each in (opened.cert, *opened.additional_certs) if each]
        return found[0].not_valid_after_utc.timestamp() if found else None
    except Exception:  # noqa: BLE001 - the library documents no complete list of its errors
        return None
