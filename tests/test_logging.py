from __future__ import annotations

import io
import json
import logging
import warnings
from typing import TYPE_CHECKING

import pytest
import structlog
from pydantic import SecretStr

from exporter.config.secret import Secret
from exporter.logging import configure


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.logging import Format, Level


CANARY = "canary-4711"


@pytest.fixture
def configured() -> Callable[..., io.StringIO]:
    """Configure logging into a buffer."""

    def set_up(level: Level = "info", log_format: Format = "logfmt") -> io.StringIO:
        stream = io.StringIO()
        configure(
            level=level, log_format=log_format, secrets=lambda: [CANARY, "x", ""], stream=stream
        )
        return stream

    return set_up


class TestForm:
    def test_logfmt_is_one_line_with_keys(self, configured: Callable[..., io.StringIO]) -> None:
        """An operator greps for the event and reads the keys."""
        stream = configured()

        structlog.get_logger("exporter.poll").info("agent_down", name="Ubuntu 10", reason="timeout")

        line = stream.getvalue()
        assert line.startswith("ts=")
        assert line.endswith(
            'level=info logger=exporter.poll event=agent_down name="Ubuntu 10" reason=timeout\n'
        )

    def test_json_is_one_object_per_line(self, configured: Callable[..., io.StringIO]) -> None:
        """A log shipper parses each line by itself, also one with a traceback."""
        stream = configured(log_format="json")

        try:
            float("x")
        except ValueError:
            structlog.get_logger("exporter.poll").exception("poll_crashed")

        (line,) = stream.getvalue().splitlines()
        entry = json.loads(line)
        assert ("poll_crashed", "error") == (entry["event"], entry["level"])
        assert "ValueError" in entry["exception"]

    def test_foreign_records_have_the_same_form(
        self, configured: Callable[..., io.StringIO]
    ) -> None:
        """A library's warning must not break the shipper's parser."""
        stream = configured(log_format="json")

        logging.getLogger("some.library").warning("careful with %s", "that")

        assert "careful with that" == json.loads(stream.getvalue())["event"]

    def test_warnings_become_records(self, configured: Callable[..., io.StringIO]) -> None:
        """Python's warnings would go to standard error in a form of their own."""
        stream = configured(log_format="json")

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)

        assert "py.warnings" == json.loads(stream.getvalue())["logger"]


class TestLevel:
    def test_what_is_below_is_left_out(self, configured: Callable[..., io.StringIO]) -> None:
        """`warn` means no info."""
        stream = configured(level="warn")

        structlog.get_logger("exporter").info("started")
        structlog.get_logger("exporter").warning("poll_failed")

        assert 1 == stream.getvalue().count("\n")

    @pytest.mark.parametrize("name", ["httpx", "httpcore", "apscheduler.scheduler", "aiohttp"])
    def test_libraries_stay_quiet_at_debug(
        self, configured: Callable[..., io.StringIO], name: str
    ) -> None:
        """Httpx logs whole URLs at info, which can hold secrets."""
        stream = configured(level="debug")

        logging.getLogger(name).info("GET http://portal/?token=x")

        assert "" == stream.getvalue()


class TestRedaction:
    @pytest.mark.parametrize("log_format", ["logfmt", "json"])
    def test_known_secrets_are_hidden_wherever_they_stand(
        self, configured: Callable[..., io.StringIO], log_format: Format
    ) -> None:
        """A secret inside a text, a list, a mapping or a traceback must not be printed."""
        stream = configured(level="debug", log_format=log_format)
        log = structlog.get_logger("exporter")

        log.info("event", text=f"before {CANARY} after", items=[CANARY], nested={"a": (CANARY,)})
        log.info(CANARY)
        logging.getLogger("foreign").error("with %s", CANARY)
        try:
            float(CANARY)
        except ValueError:
            log.exception("crashed")

        assert 4 <= stream.getvalue().count("<secret>")
        assert CANARY not in stream.getvalue()

    def test_secret_keys_and_types_are_hidden(self, configured: Callable[..., io.StringIO]) -> None:
        """A secret nobody registered is still hidden by its key or its type."""
        stream = configured()

        structlog.get_logger("exporter").info(
            "event",
            auth_token="abc1",
            headers={"Authorization": "abc2"},
            held=SecretStr("abc3"),
            other=Secret(value="abc4"),
            auth_token_file="/run/secrets/token",
        )

        text = stream.getvalue()
        assert not any(f"abc{number}" in text for number in range(1, 5))
        assert "/run/secrets/token" in text

    def test_a_very_short_secret_leaves_words_whole(
        self, configured: Callable[..., io.StringIO]
    ) -> None:
        """Gaps in every word would make the log useless and tell the secret."""
        stream = configured()

        structlog.get_logger("exporter").info("exit", text="the next exporter")

        assert 'text="the next exporter"' in stream.getvalue()

    def test_numbers_stay_numbers(self, configured: Callable[..., io.StringIO]) -> None:
        """Redaction must not turn the values of a JSON log into text."""
        stream = configured(log_format="json")

        structlog.get_logger("exporter").info("event", count=3, share=0.5, on=True, none=None)

        entry = json.loads(stream.getvalue())
        assert (3, 0.5, True, None) == (
            entry["count"],
            entry["share"],
            entry["on"],
            entry["none"],
        )
