"""Faults in values, times, shapes and encodings of replies."""

from __future__ import annotations

import json
import re
from random import Random
from typing import TYPE_CHECKING, Any

from exporter.conformance.faults.table import Fault
from exporter.conformance.front import changed, changed_json
from exporter.errors import Reason


if TYPE_CHECKING:
    from collections.abc import Callable

    #: Returns the JSON to write for a value, given its key; `None` leaves the value unchanged.
    Write = Callable[[str, Any], str | None]


#: The last parts of keys whose values identify targets or are credentials.
_NAMES = ("id", "ids", "_name", "agentname", "host", "port", "memberarray", "idarray", "token")

#: The reason if the ids in a list are unreadable, or the list is shorter than its total.
DOUBTED = frozenset((Reason.API_ERROR,))

#: The reasons if a reply is not JSON, or if nothing in it distinguishes success from a refusal.
UNREAD = frozenset((Reason.DECODE, Reason.API_ERROR, Reason.AUTH))

#: The reasons of calls about a target that does not exist.
UNKNOWN = UNREAD | {Reason.UNKNOWN_ID, Reason.ACCESS_DENIED}


def names(key: str) -> bool:
    """Return whether a field identifies a target or is a credential."""
    return key.casefold().endswith(_NAMES)


def written(value: Any, write: Write, key: str = "") -> str:
    """Return a value as JSON with some parts replaced; the result need not be valid JSON."""
    if isinstance(value, dict):
        parts = (f"{json.dumps(name)}:{written(part, write, name)}" for name, part in value.items())
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(part, write, key) for part in value) + "]"
    text = write(key, value)
    return json.dumps(value) if text is None else text


def is_number(value: Any) -> bool:
    """Return whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Return whether a value is a text."""
    return isinstance(value, str)


def rewritten(name: str, group: str, write: Write, reason: Reason | None, **more: Any) -> Fault:
    """Return a fault that replaces single values in the vendor's replies."""

    def body(content: Any) -> bytes:
        return written(content, write).encode(errors="surrogateescape")

    return Fault(name=name, group=group, reason=reason, treatment=changed_json(body), **more)


def in_place(token: str, of: Callable[[Any], bool], *, everywhere: bool = False) -> Write:
    """Return a function that replaces values by a token; names and ids only if `everywhere`."""
    return lambda key, value: token if of(value) and (everywhere or not names(key)) else None


#: Valid JSON in place of numbers.
NUMBERS = {
    "1e400": "1e400",
    "-1e400": "-1e400",
    "1e-400": "1e-400",
    "1e308": "1e308",
    "-1": "-1",
    "0": "0",
    "-0": "-0",
    "-0.0": "-0.0",
    "half": "0.5",
    "2^53 + 1": "9007199254740993",
    "2^63": "9223372036854775808",
    "-2^63 - 1": "-9223372036854775809",
    "2^64": "18446744073709551616",
    "5,000 digits": "9" * 5_000,
    "5,000 decimals": "0." + "3" * 5_000,
    "as text": '"12"',
    "as text with an exponent": '"1e5"',
    "as text NaN": '"NaN"',
    "Arabic digits": '"\\u0661\\u0662"',
    "true": "true",
    "false": "false",
    "null": "null",
    "empty text": '""',
    "empty list": "[]",
    "empty object": "{}",
    "lists of lists": "[[[1]]]",
    "nested": '{"value":{"value":1}}',
    "deep": "[" * 900 + "]" * 900,
}

#: Numbers that as times lie in the past: an agent with such a heartbeat rightly counts as down.
_LONG_AGO = frozenset(("half", "5,000 decimals", "1e-400"))

#: Invalid JSON in place of numbers.
NO_NUMBERS = {
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "nan": "nan",
    "plus": "+1",
    "leading zero": "007",
    "leading point": ".5",
    "trailing point": "1.",
    "hexadecimal": "0x10",
    "underscore": "1_000",
    "comma": "1,5",
    "octal": "0o17",
    "single quotes": "'1'",
    "undefined": "undefined",
    "True": "True",
}

#: JSON in place of true and false.
NO_FLAGS = {
    "1": "1",
    "0": "0",
    "-1": "-1",
    "2": "2",
    "text": '"true"',
    "false as text": '"false"',
    "null": "null",
    "empty": '""',
    "list": "[true]",
    "object": "{}",
    "0.5": "0.5",
}


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _looks_like_time(value: Any) -> bool:
    return is_number(value) and value > 1e9


_ISO = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:")


def _times(name: str, number: Callable[[float], float], text: str) -> Fault:
    """Return a fault that changes all times: numbers by a function, texts to a fixed text."""

    def write(key: str, value: Any) -> str | None:
        if names(key):
            return None
        if _looks_like_time(value):
            return json.dumps(number(value))
        return json.dumps(text) if is_text(value) and _ISO.match(value) else None

    # An agent with a heartbeat in the past rightly counts as down.
    return rewritten(name, "time", write, None, also=DOUBTED, renames=name in _PAST)


_PAST = frozenset(("50 years ago", "a day ago", "the year 1", "a thousandth"))
_YEAR = 365.25 * 86_400


def _unit(value: float) -> float:
    """Return the number of a time's units per second: 1000 for milliseconds, else 1."""
    return 1000.0 if value > 1e11 else 1.0


TIMES = (
    _times("a day ago", lambda at: at - 86_400 * _unit(at), "2023-11-13 22:12:12+00"),
    _times("in a day", lambda at: at + 86_400 * _unit(at), "2023-11-15 22:12:12+00"),
    _times("50 years ago", lambda at: at - 50 * _YEAR * _unit(at), "1973-11-14 22:12:12+00"),
    _times("in 9,000 days", lambda at: at + 9_000 * 86_400 * _unit(at), "2048-07-06 22:12:12+00"),
    _times("in 7,900 years", lambda at: at + 7_900 * _YEAR * _unit(at), "9999-12-31 23:59:59+00"),
    _times("the year 1", lambda _: 1, "0001-01-01 00:00:00+14"),
    _times("negative", lambda at: -at, "-2023-11-14 22:12:12+00"),
    _times("a thousandth", lambda at: at / 1000, "2023-11-14 22:12"),
    _times("thousandfold", lambda at: at * 1000, "2023-11-14 22:12:12.123456789+00"),
    _times("2^63 milliseconds", lambda _: 2**63, "292278994-08-17 07:12:55+00"),
    _times("fractions", lambda at: at + 0.123456, "2023-11-14T22:12:12.5Z"),
    _times("another zone", lambda at: at, "2023-11-15 03:42:12.836357+05:30"),
    _times("no zone", lambda at: at, "2023-11-14 22:12:12.836357"),
    _times("no calendar's", lambda at: at, "2023-02-30 25:61:61+99:99"),
)


def _shaped(name: str, change: Callable[[Any], Any], **more: Any) -> Fault:
    """Return a fault that changes all lists and objects, the inner ones first."""

    def inner(value: Any) -> Any:
        if isinstance(value, dict):
            return change({key: inner(part) for key, part in value.items()})
        if isinstance(value, list):
            return change([inner(part) for part in value])
        return value

    body = changed_json(lambda content: json.dumps(inner(content)).encode())
    fields: dict[str, Any] = {"renames": True, **more}
    return Fault(name=name, group="shape", reason=None, also=UNKNOWN, treatment=body, **fields)


def _lists(change: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    return lambda value: change(value) if isinstance(value, list) else value


def _objects(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    return lambda value: change(value) if isinstance(value, dict) else value


def _without_some(seed: int) -> Callable[[Any], Any]:
    chance = Random(seed)  # noqa: S311 - repeatable, not secret
    return _objects(
        lambda value: {key: part for key, part in value.items() if chance.random() > 0.2}
    )


def _doubled_keys(content: bytes) -> bytes:
    """Write each key twice; the real value comes last, because JSON readers take the last."""
    return re.sub(rb'("(?:[^"\\]|\\.)*":)', rb"\1null,\1", content)


SHAPES = (
    _shaped(
        "more fields",
        _objects(lambda value: {**value, "unheardOf": {"a": [1]}}),
        renames=False,
    ),
    _shaped("more elements", _lists(lambda value: [*value, None, 7, "x", {}, []])),
    _shaped("all twice", _lists(lambda value: value + value)),
    _shaped("the other way round", _lists(lambda value: value[::-1])),
    _shaped("empty lists", _lists(lambda _: [])),
    _shaped("null for lists", _lists(lambda _: None)),
    _shaped("the first for lists", _lists(lambda value: value[0] if value else None)),
    _shaped("objects for lists", _lists(lambda value: dict(enumerate(value)))),
    _shaped("text for lists", _lists(str)),
    _shaped("lists for objects", _objects(lambda value: [value])),
    _shaped("null for objects", _objects(lambda _: None)),
    _shaped("text for objects", _objects(json.dumps)),
    _shaped("pairs for objects", _objects(lambda value: [[*pair] for pair in value.items()])),
    _shaped("empty objects", _objects(lambda _: {})),
    _shaped("upper case", _objects(lambda value: {key.upper(): value[key] for key in value})),
    _shaped("keys with blanks", _objects(lambda value: {f" {key} ": value[key] for key in value})),
    *(_shaped(f"a fifth of the fields gone, {seed}", _without_some(seed)) for seed in range(4)),
    Fault(
        name="keys twice",
        group="shape",
        reason=None,
        also=DOUBTED,
        treatment=changed(_doubled_keys),
    ),
)


def _encoded(name: str, change: Callable[[bytes], bytes], reason: Reason | None) -> Fault:
    return Fault(name=name, group="encoding", reason=reason, treatment=changed(change))


def _json(name: str, change: Callable[[Any], bytes], reason: Reason | None) -> Fault:
    return Fault(name=name, group="encoding", reason=reason, treatment=changed_json(change))


def _lines(value: Any) -> bytes:
    parts = value if isinstance(value, list) else [{key: value[key]} for key in value]
    return b"\n".join(json.dumps(part).encode() for part in parts)


_XML = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'

ENCODINGS = (
    _encoded("with a line's end", lambda body: body + b"\r\n \t", None),
    _json("indented", lambda value: json.dumps(value, indent=4).encode(), None),
    _json("all escaped", lambda value: json.dumps(value).encode(), None),
    _encoded("blanks before", lambda body: b" " * 10_000 + body, None),
    _encoded("BOM", lambda body: b"\xef\xbb\xbf" + body, Reason.DECODE),
    _encoded("UTF-16", lambda body: body.decode().encode("utf-16"), Reason.DECODE),
    _encoded("UTF-16 without BOM", lambda body: body.decode().encode("utf-16-be"), Reason.DECODE),
    _encoded("UTF-32", lambda body: body.decode().encode("utf-32"), Reason.DECODE),
    _encoded("EBCDIC", lambda body: body.decode().encode("cp037", errors="replace"), Reason.DECODE),
    _encoded("half", lambda body: body[: len(body) // 2], Reason.DECODE),
    _encoded("without its last byte", lambda body: body[:-1], Reason.DECODE),
    _encoded("without its first byte", lambda body: body[1:], Reason.DECODE),
    _encoded("garbage behind", lambda body: body + b"x", Reason.DECODE),
    _encoded("two documents", lambda body: body + body, Reason.DECODE),
    _encoded("NUL behind", lambda body: body + b"\0", Reason.DECODE),
    _json("a line for each", lambda value: _lines(value) + b"\n{}", Reason.DECODE),
    _encoded("a prefix against hijacking", lambda body: b")]}',\n" + body, Reason.DECODE),
    _encoded("JSONP", lambda body: b"callback(" + body + b");", Reason.DECODE),
    _encoded("an event", lambda body: b"data: " + body + b"\n\n", Reason.DECODE),
    _encoded("as text", lambda body: json.dumps(body.decode()).encode(), Reason.DECODE),
    _encoded("comments", lambda body: b"/* ok */" + body, Reason.DECODE),
    _encoded("trailing comma", lambda body: body[:-1] + b"," + body[-1:], Reason.DECODE),
    _json("Python", lambda value: repr(value).encode(), Reason.DECODE),
    _encoded("XML", lambda _: _XML, Reason.DECODE),
    _encoded("a form", lambda _: b"isError=false&error=&result=1", Reason.DECODE),
    _encoded("blanks", lambda _: b" " * 100, Reason.DECODE),
    _encoded("NULs", lambda _: bytes(100), Reason.DECODE),
    _encoded("true", lambda _: b"true", Reason.DECODE),
    _encoded("a number", lambda _: b"200", Reason.DECODE),
    _encoded("300 kB", lambda body: b" " * 300_000 + body, Reason.DECODE),
)


VALUES = (
    *(
        rewritten(
            f"numbers: {name}",
            "number",
            in_place(token, is_number),
            None,
            also=DOUBTED | ({Reason.DECODE} if len(token) > 1_000 else set()),
            renames=name in _LONG_AGO,
        )
        for name, token in NUMBERS.items()
    ),
    *(
        rewritten(
            f"numbers and ids: {name}",
            "number",
            in_place(token, is_number, everywhere=True),
            None,
            also=UNKNOWN,
            renames=True,
        )
        for name, token in NUMBERS.items()
    ),
    *(
        rewritten(
            f"numbers: {name}", "number", in_place(token, is_number, everywhere=True), Reason.DECODE
        )
        for name, token in NO_NUMBERS.items()
    ),
    *(
        rewritten(
            f"flags: {name}",
            "flag",
            in_place(token, _is_flag),
            None,
            also=UNREAD,
            renames=True,
        )
        for name, token in NO_FLAGS.items()
    ),
)
