"""Decoding of vendors' replies into typed values, and into plain data that is safe to show.

A reply that matches its struct needs one strict decode, which skips all undeclared fields, secrets
included. If the strict decode fails, the reply is decoded field by field, so that an unexpected
value costs that value and not the poll. Every field of a reply struct therefore has a default,
which is also the value of an absent field.

Pages and commands show only the declared fields of a reply, and the names of all others. A declared
field is free of secrets, or it has the type `msgspec.Raw` and is hidden. An undeclared field may
hold anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from exporter.config.secret import HIDDEN
from exporter.errors import CallError, Reason
from exporter.metrics.telemetry import Surprise


T = TypeVar("T")

Surprised = Callable[[Surprise], None]

#: An identifier in a reply: a number or a text, by vendor.
Id = int | str | None

NOT_SHOWN = "<not shown>"

#: A JSON escape: a surrogate pair, a lone surrogate (the only one that fills the group), any other.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)

# No vendor has longer versions; the bounds keep hostile input cheap.
_VERSION = re.compile(r"[vV]?([0-9]{1,18}(?:\.[0-9]{1,18}){0,15})(?:[-+._ ]?[A-Za-z].*|[-+_ ].*)?")


class _UnfitError(Exception):
    """A value, or a part of a body, is not of the wanted type and has no fitting parts."""


def decode(body: bytes, type_: type[T], *, operation: str, surprise: Surprised) -> T:
    """Return a JSON body decoded as a type.

    A field of a wrong type gets its default; an element of a wrong type is left out of its list
    or mapping. Each of these counts as a surprise of kind `type`.

    Args:
        body: The body as received.
        type_: A struct whose fields all have defaults, or a list or mapping of such structs.
        operation: The name of the call, for the error's message.
        surprise: Called once for each value of a wrong type.

    Raises:
        CallError: With the reason `decode`, if the body is not JSON, is nested too deeply, or is
            of another type as a whole. The error's message and causes quote nothing of the body.
    """
    value: T
    with suppress(_UnfitError):
        value = _try(body, type_)
        return value
    with suppress(_UnfitError):
        value = _fit(well_formed(body), type_, surprise)
        return value
    # Raised outside the handlers, because a chained cause would quote the body in tracebacks.
    raise CallError(Reason.DECODE, f"{operation}: the reply is not the JSON that was expected")


def well_formed(body: bytes) -> bytes:
    """Return a JSON body with every lone surrogate replaced by U+FFFD.

    A lone surrogate cannot be decoded, yet JSON allows it (RFC 8259, section 8.2), and a text that
    was cut in the middle of an emoji ends with one.
    """
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)


def finite(value: float | None) -> float | None:
    """Return a number as a float, or `None` if it is missing, infinite, NaN or too large."""
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def measured(value: float | None) -> float | None:
    """Return a quantity as a float, or `None`; vendors send negative numbers for missing data."""
    number = finite(value)
    return number if number is not None and number >= 0 else None


def text(value: Id) -> str:
    """Return an id or a description as label text; empty if the vendor gave none."""
    return "" if value is None else str(value)


def redacted_reply(body: bytes | msgspec.Raw, type_: Any) -> Any:
    """Return a JSON body as plain data, with all undeclared fields and all secrets hidden.

    Args:
        body: JSON; a body that is not JSON is hidden as a whole.
        type_: The type that declares the fields to show; see `decode`.
    """
    if isinstance(body, bytes):  # the whole body, not a part of it
        body = well_formed(body)
    wanted = _alternative(type_, body)
    origin, arguments = get_origin(wanted), get_args(wanted)
    try:
        if wanted is msgspec.Raw:
            return HIDDEN
        if _is_struct(wanted):
            members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            types = {field.encode_name: field.type for field in msgspec.structs.fields(wanted)}
            return {
                name: redacted_reply(part, types[name]) if name in types else NOT_SHOWN
                for name, part in members.items()
            }
        if _is_list(wanted):
            elements = msgspec.json.decode(body, type=list[msgspec.Raw])
            return [redacted_reply(element, arguments[0]) for element in elements]
        if origin is dict:
            members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            return {name: redacted_reply(part, arguments[1]) for name, part in members.items()}
        return msgspec.json.decode(body, type=type_)
    except (ValueError, RecursionError):  # not JSON, or not of the wanted type
        return NOT_SHOWN


def part_of(reply: Any, *path: str) -> Any:
    """Return a part of a redacted reply by its path of keys, or `None` if it is missing."""
    for key in path:
        reply = reply.get(key) if isinstance(reply, dict) else None
    return reply


def older(version: str, minimum: str) -> bool | None:
    """Return whether a version is older than another, or `None` if either cannot be parsed.

    Versions are compared number by number, because as text 4.8.9 would be newer than 4.8.24.
    Missing numbers count as 0 (4.8 equals 4.8.0). A suffix is ignored (4.8.9-beta equals 4.8.9),
    because vendors order suffixes differently.
    """
    left, right = _numbers(version), _numbers(minimum)
    if left is None or right is None:
        return None
    return left < right


@cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


@cache
def _fields(type_: type[msgspec.Struct]) -> tuple[tuple[str, str, Any], ...]:
    """Return each field of a struct as its name in JSON, its name in Python and its type."""
    return tuple(
        (field.encode_name, field.name, field.type) for field in msgspec.structs.fields(type_)
    )


def _try(raw: bytes | msgspec.Raw, type_: Any) -> Any:
    try:
        return _decoder(type_).decode(raw)
    except (ValueError, RecursionError):  # msgspec's and Unicode's errors are ValueErrors
        raise _UnfitError from None


def _fit(raw: bytes | msgspec.Raw, type_: Any, surprise: Surprised) -> Any:
    """Decode strictly if possible, else part by part."""
    try:
        return _try(raw, type_)
    except _UnfitError:
        inner = _alternative(type_, raw)
    origin, arguments = get_origin(inner), get_args(inner)
    if _is_struct(inner):
        return _fit_struct(raw, inner, surprise)
    if _is_list(inner):
        elements = _try(raw, list[msgspec.Raw])
        fitting = (_fit_part(element, arguments[0], surprise) for element in elements)
        return origin(value for value in fitting if value is not _UnfitError)
    if origin is dict:
        members = _try(raw, dict[str, msgspec.Raw])
        fitted = {key: _fit_part(part, arguments[1], surprise) for key, part in members.items()}
        return {key: value for key, value in fitted.items() if value is not _UnfitError}
    raise _UnfitError


def _fit_part(raw: msgspec.Raw, type_: Any, surprise: Surprised) -> Any:
    """Return the decoded part; for a part of a wrong type the class `_UnfitError` as a marker."""
    try:
        return _fit(raw, type_, surprise)
    except _UnfitError:
        surprise("type")
        return _UnfitError


def _fit_struct(
    raw: bytes | msgspec.Raw, type_: type[msgspec.Struct], surprise: Surprised
) -> msgspec.Struct:
    members = _try(raw, dict[str, msgspec.Raw])
    fitted = {
        name: _fit_part(members[key], part, surprise)
        for key, name, part in _fields(type_)
        if key in members
    }
    return type_(**{name: value for name, value in fitted.items() if value is not _UnfitError})


def _is_struct(type_: Any) -> bool:
    """Return whether a type is a struct or a parametrized generic struct."""
    origin = get_origin(type_) or type_
    return isinstance(origin, type) and issubclass(origin, msgspec.Struct)


def _alternative(type_: Any, raw: bytes | msgspec.Raw) -> Any:
    """Reduce `X | None` to `X`, and a union of a struct and a list to the type of the JSON."""
    if get_origin(type_) not in (Union, UnionType):
        return type_
    rest = [part for part in get_args(type_) if part is not NoneType]
    if len(rest) > 1:
        fits = _is_list if bytes(raw).lstrip().startswith(b"[") else _is_struct
        rest = [part for part in rest if fits(part)]
    return rest[0] if len(rest) == 1 else type_


def _is_list(type_: Any) -> bool:
    return get_origin(type_) in (list, tuple)


def _numbers(version: str) -> tuple[int, ...] | None:
    match = _VERSION.fullmatch(version.strip())
    if match is None:
        return None
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
