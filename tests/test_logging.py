from __future__ import annotations

import io
import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import SecretStr

from exporter.config.secret import Secret
from exporter.logging import configure, tell_repeated
from exporter.repeats import MAX_FACTS, MAX_REMEMBERED, WINDOW_SECONDS


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.logging import Format, Level

    Log = Callable[[], list[dict[str, Any]]]


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
        """A secret that is not registered must be hidden by its key or its type."""
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
        """A very short secret must not be cut out of other words."""
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


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    """Make the clock of the log."""
    return Watch()


@pytest.fixture
def log(watch: Watch) -> Log:
    """Log into a buffer by that clock, and return what is new in it."""
    stream = io.StringIO()
    configure(level="info", log_format="json", stream=stream, monotonic=watch)

    def new() -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in stream.getvalue().splitlines()]
        stream.seek(0)
        stream.truncate()
        return entries

    return new


def events(entries: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return the logged events, with their counts."""
    return [(entry["event"], entry.get("repeated", 0)) for entry in entries]


class TestRepeats:
    def test_what_repeats_is_told_once_a_minute_with_its_count(
        self, log: Log, watch: Watch
    ) -> None:
        """Repeated events must be logged once a minute, with their number."""
        logger = structlog.get_logger("exporter.poll")
        told = []

        for _ in range(3):
            for _ in range(10):
                logger.warning("source_down", source="prod")
            told.append(events(log()))
            watch.seconds += WINDOW_SECONDS
            tell_repeated()
            told.append(events(log()))

        first, *later = told
        assert [("source_down", 0)] == first
        assert [
            [("source_down", 9)],
            [],
            [("source_down", 10)],
            [],
            [("source_down", 10)],
        ] == later

    def test_a_minute_without_it_ends_it(self, log: Log, watch: Watch) -> None:
        """A warning that comes again after a minute without it must be logged as new."""
        logger = structlog.get_logger("exporter.poll")

        logger.warning("source_down")
        watch.seconds += WINDOW_SECONDS
        logger.warning("source_down")

        assert [("source_down", 0), ("source_down", 0)] == events(log())

    def test_the_log_ends_with_how_things_are(self, log: Log, watch: Watch) -> None:
        """The log must end with the newest state of a source that flaps."""
        logger = structlog.get_logger("exporter.poll")

        for _ in range(5):
            logger.warning("source_down")
            logger.info("source_up")
        logger.warning("source_down")
        first = events(log())
        watch.seconds += WINDOW_SECONDS
        tell_repeated()

        last = log()
        assert [("source_down", 0), ("source_up", 0)] == first
        assert [("source_up", 4), ("source_down", 5)] == events(last)
        assert last[0]["ts"] < last[1]["ts"]

    def test_another_record_brings_what_is_due(self, log: Log, watch: Watch) -> None:
        """A command has no housekeeping."""
        logger = structlog.get_logger("exporter")

        logger.info("one")
        logger.info("one")
        watch.seconds += WINDOW_SECONDS
        logger.info("two")

        assert [("one", 0), ("one", 1), ("two", 0)] == events(log())

    def test_nothing_is_lost_at_the_end(self, log: Log) -> None:
        """Held back events must be logged at the end."""
        logger = structlog.get_logger("exporter")

        logger.info("one")
        logger.info("one")
        logging.getLogger().handlers[0].close()
        logging.getLogger().handlers[0].close()

        assert [("one", 0), ("one", 1)] == events(log())

    def test_a_reload_forgets_nothing(self, watch: Watch) -> None:
        """A reload must not reset the repetitions."""
        stream = io.StringIO()

        for _ in range(3):
            configure(level="info", log_format="logfmt", stream=stream, monotonic=watch)
            structlog.get_logger("exporter").info("reloaded", kept=1)

        assert 1 == stream.getvalue().count("reloaded")

    @pytest.mark.parametrize(
        "fields",
        [{"source": "b"}, {"task": "suites"}, {"id": "6"}, {"message": "line 2: wrong"}],
    )
    def test_distinct_facts_are_all_told(self, log: Log, fields: dict[str, str]) -> None:
        """Another source, task, target or mistake is no repetition."""
        logger = structlog.get_logger("exporter")
        fact = {"source": "a", "task": "agents", "id": "5", "message": "line 1: wrong"}

        logger.info("agent_down", **fact)
        logger.info("agent_down", **(fact | fields))
        logger.warning("agent_down", **fact)
        structlog.get_logger("other").info("agent_down", **fact)

        assert 4 == len(log())

    def test_what_is_measured_makes_no_other_fact(self, log: Log) -> None:
        """Events that differ in measured values only must count as repetitions."""
        logger = structlog.get_logger("exporter")

        for count in range(3):
            logger.info("more_changes", count=count, seconds=count / 7)
        logging.getLogger().handlers[0].close()

        assert [(0, None), (2, 2)] == [(each["count"], each.get("repeated")) for each in log()]

    def test_a_flood_of_distinct_facts_is_bounded(self, log: Log, watch: Watch) -> None:
        """Of a flood of distinct events, some must be logged, and the number of the others."""
        logger = structlog.get_logger("exporter.poll")

        for number in range(10_000):
            logger.info("agent_down", source="a", id=str(number))
        logger.info("agent_down", source="b", id="0")
        first = log()
        watch.seconds += WINDOW_SECONDS
        tell_repeated()
        last = log()

        assert MAX_FACTS + 2 == len(first)
        assert "b" == first[-1]["source"]
        assert [("9999", 10_000 - MAX_FACTS - 1)] == [(each["id"], each["others"]) for each in last]

    def test_memory_is_bounded_and_nothing_lost(self, log: Log) -> None:
        """The number of remembered events must be bounded, and none be lost."""
        for number in range(MAX_REMEMBERED + 1):
            for _ in range(2):
                structlog.get_logger("exporter").info("down", source=str(number))
        told = log()

        assert ("0", 1) == next((each["source"], each["repeated"]) for each in told[-2:-1])
        assert str(MAX_REMEMBERED) == told[-1]["source"]
        assert MAX_REMEMBERED + 2 == len(told)

    def test_records_of_libraries_are_told_once(self, log: Log, watch: Watch) -> None:
        """Records of a library that differ in numbers only must be logged once."""
        logger = logging.getLogger("asyncio")

        error = OSError(24, "Too many open files")
        for number in range(5):
            text = "accept() failed on fd=%d\nsocket: <0x%x>"
            logger.error(text, number, number, exc_info=error)
        logger.warning("another thing")
        first = log()
        watch.seconds += WINDOW_SECONDS
        tell_repeated()
        (last,) = log()

        assert 2 == len(first)
        assert "Too many open files" in first[0]["exception"]
        assert ("accept() failed on fd=4\nsocket: <0x4>", 4) == (last["event"], last["repeated"])
        assert "exception" not in last

    def test_another_exception_is_another_fact(self, log: Log) -> None:
        """Another exception must be logged as another event."""
        for error in (ValueError("1"), KeyError("1"), ValueError("2")):
            structlog.get_logger("exporter").error("render_crashed", exc_info=error)
            logging.getLogger("uvicorn.error").error("Exception in app", exc_info=error)

        assert 4 == len(log())

    def test_a_record_that_cannot_be_formatted_ends_nothing(
        self, log: Log, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A library's mistake in its log must not break what it does."""
        record = logging.makeLogRecord({"msg": "%d", "args": ("no number",)})

        logging.getLogger().handlers[0].handle(record)

        assert [] == log()
        assert "Logging error" in capsys.readouterr().err
