"""One configuration for our own log and for the libraries'.

Every record, ours or foreign, goes through the same processors, the last but one of which takes
secrets out: by the name of the key, by the type of the value, and by value for every secret the
configuration knows. What repeats is told once a minute.
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

#: Libraries that say more than anybody wants to read; some of it whole URLs, or secrets.
QUIET = {
    "aiohttp": logging.WARNING,
    "apscheduler": logging.CRITICAL,  # what it would say is counted in schedule_skipped_total
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "pydantic_settings": logging.WARNING,  # shows whole layers, their secrets included
    "uvicorn": logging.WARNING,
}

#: Shorter secrets are hidden by key and type alone: taking them out of texts would tear words
#: apart, and show by the gaps what they are.
SHORTEST_IN_TEXTS = 4

#: Parts of key names whose values are never printed.
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
        level: The lowest level printed.
        log_format: `logfmt` or `json`, one line per event.
        secrets: Returns the values to take out, asked for each record.
        stream: The destination; standard error if not given.
        monotonic: The clock by which repeated records are held back.
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
    # A reload forgets nothing that is held back.
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
    """Log the repeated records whose minute is over; else they wait for the next record."""
    for handler in _handlers():
        handler.tell_due()


def _handlers() -> list[_Handler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, _Handler)]


class _Handler(logging.StreamHandler[TextIO]):
    """Writes records, those that repeat once a minute, and at its end what it has held back."""

    def __init__(self, stream: TextIO, repeats: Repeats) -> None:
        super().__init__(stream)
        self.repeats = repeats

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.repeats.take(record))
        except Exception:  # noqa: BLE001 - as the parent's: a log that fails must not end the work
            self.handleError(record)

    def tell_due(self) -> None:
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
    """Return a processor that hides secrets wherever they stand in a record."""

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
