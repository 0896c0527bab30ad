"""Types for the fields of settings. Their error texts never quote the wrong value.

Each reader accepts values from YAML, JSON or the environment and raises `WrongValueError` with a
text that gives the remedy.
"""

from __future__ import annotations

import operator
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer


_UNITS_MS = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_DURATION = re.compile("".join(f"(?:([0-9]{{1,15}}){unit})?" for unit in _UNITS_MS))
_BARE_NUMBER = re.compile(r"-?[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?")
_LONGEST_MS = 100 * _UNITS_MS["y"]
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LARGEST = 1 << 50
_SIZE = re.compile(r"([0-9]{1,12}) ?(B|KiB|MiB|GiB)?")


class WrongValueError(ValueError):
    """A value is invalid. The text gives the remedy and no part of the value."""


def parse_duration(value: object) -> float:
    """Read a duration in Prometheus' format, such as `90s`, `5m` or `1h30m`.

    Returns:
        Seconds.

    Raises:
        WrongValueError: The value is no duration, has no unit, or is longer than 100 years.
    """
    if value == "0" or (value == 0 and not isinstance(value, bool)):
        return 0.0
    if _BARE_NUMBER.fullmatch(str(value)):
        raise WrongValueError("has no unit; write a duration such as 90s, 5m or 1h30m")
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        raise WrongValueError("is not a duration; write one such as 90s, 5m or 1h30m")
    parts = zip(match.groups(), _UNITS_MS.values(), strict=True)
    milliseconds = sum(int(number) * unit for number, unit in parts if number)
    if milliseconds > _LONGEST_MS:
        raise WrongValueError("is longer than 100 years; write a shorter duration")
    return milliseconds / 1000


def format_duration(seconds: float) -> str:
    """Return a duration as text for `parse_duration`, to the millisecond."""
    rest = round(seconds * 1000)
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        number, rest = divmod(rest, _UNITS_MS[unit])
        text += f"{number}{unit}" if number else ""
    return text or "0s"


def parse_size(value: object) -> int:
    """Read a size such as `16MiB` or a number of bytes.

    Returns:
        Bytes.

    Raises:
        WrongValueError: The value is no size, or larger than 1 PiB.
    """
    match = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    if match is None:
        raise WrongValueError("is not a size; write bytes, or a unit as in 16MiB")
    size = int(match[1]) * _SIZES[match[2] or "B"]
    if size > _LARGEST:
        raise WrongValueError("is larger than any disk; write a smaller size")
    return size


def format_size(size: int) -> str:
    """Return a size in bytes as text for `parse_size`."""
    unit = next(unit for unit, factor in reversed(_SIZES.items()) if size % factor == 0)
    return f"{size // _SIZES[unit]}{unit}" if size else "0B"


def _read_interval(value: object) -> float | None:
    if value is None or value is False or value == "off":
        return None
    if value is True or value == "on":
        raise WrongValueError("must be a duration such as 60s, or off")
    seconds = parse_duration(value)
    if seconds == 0:
        raise WrongValueError("must be longer than 0; write off to switch it off")
    return seconds


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise WrongValueError("must be longer than 0")
    return seconds


def parse_boolean(value: object) -> bool:
    """Return true or false from a boolean or one of the texts true, false, 1 and 0.

    Raises:
        WrongValueError: The value is none of these.
    """
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise WrongValueError("must be true or false")


def listed(value: object) -> object:
    """Return a text split at its commas, and any other value unchanged; for lists of texts."""
    return value.split(",") if isinstance(value, str) else value


def _read_whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**15:
            raise WrongValueError("has more than 15 digits; write a smaller number")
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,15}", value):
        return int(value)
    raise WrongValueError("must be a whole number")


def _read_number(value: object) -> object:
    if isinstance(value, bool):
        raise WrongValueError("must be a number")
    return value


def _read_regex(value: object) -> object:
    if not isinstance(value, str):
        if isinstance(value, re.Pattern):
            return value
        raise WrongValueError("must be a regular expression; put it in quotes")
    try:
        # As in Prometheus, `.` also matches a line break.
        return re.compile(value, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise WrongValueError(
            "is not a regular expression; escape literal characters with \\"
        ) from error


def check_url(url: str) -> str:
    """Return the URL if it is complete and contains no credentials, query or fragment.

    Raises:
        WrongValueError: The URL is not usable; the text gives the reason.
    """
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise WrongValueError("is not a URL; write it as https://host/path") from error
    if not complete or re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise WrongValueError("is not an http or https URL; write it as https://host/path")
    if "@" in parts.netloc:
        raise WrongValueError("holds a user or password; give credentials in their own keys")
    if "?" in url or "#" in url:
        raise WrongValueError("holds a query or fragment; end it before the ? or #")
    return url


#: Seconds, read by `parse_duration`.
Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(format_duration)]

#: A `Duration` that is longer than 0.
TimeLimit = Annotated[Duration, AfterValidator(_positive)]

#: Seconds, or `None` for `off`, which YAML reads as false.
Interval = Annotated[
    float | None,
    BeforeValidator(_read_interval),
    PlainSerializer(lambda seconds: "off" if seconds is None else format_duration(seconds)),
]

#: True or false; as text also 1 or 0.
Boolean = Annotated[bool, BeforeValidator(parse_boolean)]

#: A whole number, also as digits in a text; never a boolean or a fraction.
Whole = Annotated[int, BeforeValidator(_read_whole)]

#: A number, also as digits in a text; never a boolean.
Number = Annotated[float, BeforeValidator(_read_number)]

#: Bytes, read by `parse_size`.
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=1), PlainSerializer(format_size)]

#: A regular expression, which must match the whole text.
Regex = Annotated[
    re.Pattern[str],
    BeforeValidator(_read_regex),
    PlainSerializer(operator.attrgetter("pattern")),
]

#: An http or https URL without credentials, query and fragment, unchanged.
Url = Annotated[str, AfterValidator(check_url)]

#: A file; a path in the configuration file is relative to that file's folder.
FilePath = Path
