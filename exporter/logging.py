"""Logging set-up for the exporter and its libraries.

Every record goes through the same processors. One of them removes secrets: by the name of the
key, by the type of the value, and by value for every secret in the configuration. Repeated records
are written once a minute.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, TextIO, get_args

import structlog
from pydantic import SecretStr

from exporter.config.secret import HIDDEN, Secret
from exporter.repeats import Repeats


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from structlog.typing import EventDict, Processor, WrappedLogger


Level = Literal["debug", "info", "warn", "error"]
Format = Literal["logfmt", "json"]

LEVELS: tuple[Level, ...] = get_args(Level)
FORMATS: tuple[Format, ...] = get_args(Format)

#: Minimum levels of libraries that log too much, some of them whole URLs or secrets.
QUIET = {
    "aiohttp": logging.WARNING,
    "apscheduler": logging.CRITICAL,  # schedule_skipped_total counts its warnings
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "pydantic_settings": logging.WARNING,  # logs all settings, including secrets
    "uvicorn": logging.WARNING,
}

#: Minimum length for removing a secret from texts. A shorter one would be cut out of ordinary
#: words, and the gaps would reveal it; it is hidden by key and type only.
SHORTEST_IN_TEXTS = 4

#: Parts of key names; the values of such keys are never logged.
SECRET_KEYS = ("token", "password", "secret", "authorization", "api_key", "cookie")


def configure(
    *,
    level: Level,
    log_format: Format,
    secrets: Callable[[], Collection[str]] = tuple,
    stream: TextIO | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Set up logging for the process; may be called again.

    Args:
        level: The lowest level written.
        log_format: `logfmt` or `json`, one line per event.
        secrets: Returns the values to remove; called for each record.
        stream: The destination; standard error by default.
        monotonic: The clock that times the window of repeated records.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    stream = stream or sys.stderr
    # Keep the records that the former handler held back.
    former = [each.repeats for each in _handlers() if each.stream is stream]
    handler = _Handler(stream, former[0] if former else Repeats(monotonic))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redactor(secrets),
                _renderer(log_format),
            ],
        )
    )
    root.handlers = [handler]
    root.setLevel(threshold)
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, threshold))
    logging.captureWarnings(capture=True)


def tell_repeated() -> None:
    """Write the repeated records whose window is over, without waiting for the next record."""
    for handler in _handlers():
        handler.write_due()


def _handlers() -> list[_Handler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, _Handler)]


class _Handler(logging.StreamHandler[TextIO]):
    """Writes records: repeated ones once a minute, and those held back when it is closed."""

    def __init__(self, stream: TextIO, repeats: Repeats) -> None:
        super().__init__(stream)
        self.repeats = repeats

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.repeats.take(record))
        except Exception:  # noqa: BLE001 - as in the parent: failed logging must not stop the work
            self.handleError(record)

    def write_due(self) -> None:
        with self.lock or nullcontext():
            self._write(self.repeats.due())

    def close(self) -> None:
        with self.lock or nullcontext():
            self._write(self.repeats.rest())
        super().close()

    def _write(self, records: Iterable[logging.LogRecord]) -> None:
        for record in records:
            super().emit(record)


def redactor(secrets: Callable[[], Collection[str]]) -> Processor:
    """Return a processor that hides secrets anywhere in a record."""

    def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        known = [secret for secret in secrets() if len(secret) >= SHORTEST_IN_TEXTS]
        return {
            key: HIDDEN if _is_secret(key) else _without(value, known)
            for key, value in event.items()
        }

    return redact


def _is_secret(key: str) -> bool:
    lowered = key.lower()
    return not lowered.endswith("_file") and any(part in lowered for part in SECRET_KEYS)


def _without(value: Any, known: list[str]) -> Any:
    if isinstance(value, SecretStr | Secret):
        return HIDDEN
    if isinstance(value, bool | int | float | None):
        return value
    if isinstance(value, dict):
        return {
            key: HIDDEN if _is_secret(str(key)) else _without(item, known)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without(item, known) for item in value]
    text = str(value)
    for secret in known:
        text = text.replace(secret, HIDDEN)
    return text


def _renderer(log_format: Format) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer()
    return structlog.processors.LogfmtRenderer(
        key_order=["ts", "level", "logger", "event"], drop_missing=True, bool_as_flag=False
    )
