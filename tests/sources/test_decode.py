from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import CallError, Reason
from exporter.sources.decode import decode, finite, older, redacted_reply


class Part(msgspec.Struct, rename="camel"):
    part_id: int | None = None
    size: float | None = None


class Whole(msgspec.Struct, rename="camel"):
    name: str | None = None
    active: bool | int | None = None
    big_number: float | None = None
    part: Part | None = None
    parts: tuple[Part, ...] | None = None
    ids: list[int] = msgspec.field(default_factory=list)
    by_key: dict[str, float] = msgspec.field(default_factory=dict)


def read(body: bytes | Any) -> tuple[Whole, list[str]]:
    """Decode a body, or a value as JSON, and return the value and its surprises."""
    surprises: list[str] = []
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode(raw, Whole, operation="look", surprise=surprises.append), surprises


def test_reads_what_is_wanted_and_skips_the_rest() -> None:
    """A reply as documented is read without a surprise, unknown fields or not."""
    body = {"name": "a", "active": 1, "part": {"partId": 3}, "secret": "hidden", "ids": [1, 2]}

    assert (Whole(name="a", active=1, part=Part(part_id=3), ids=[1, 2]), []) == read(body)


@pytest.mark.parametrize("wrong", [{}, [], "text", 1.5, {"a": [None]}])
def test_gives_a_field_of_a_wrong_type_its_default(wrong: object) -> None:
    """A field of a wrong type must get its default, and the others be read."""
    whole, surprises = read({"active": wrong, "name": "a"})

    assert (Whole(name="a"), ["type"]) == (whole, surprises)


def test_keeps_the_rest_of_a_part() -> None:
    """A wrong field inside a part leaves the part's other fields."""
    whole, surprises = read({"part": {"partId": "three", "size": 4}})

    assert Part(size=4) == whole.part
    assert ["type"] == surprises


def test_leaves_elements_of_a_wrong_type_out() -> None:
    """Elements of a wrong type must be left out and counted."""
    whole, surprises = read({"parts": [{"partId": 1}, 7, None, {"partId": 2}], "ids": ["x", 5]})

    assert (Part(part_id=1), Part(part_id=2)) == whole.parts
    assert [5] == whole.ids
    assert ["type"] * 3 == surprises


def test_leaves_members_of_a_wrong_type_out() -> None:
    """A mapping keeps its good members."""
    whole, surprises = read({"byKey": {"a": 1, "b": "x"}})

    assert {"a": 1.0} == whole.by_key
    assert ["type"] == surprises


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400, "9" * 5000])
def test_takes_a_number_out_of_range_for_a_wrong_type(number: str) -> None:
    """A number no float can hold is not a number to us."""
    whole, surprises = read(b'{"name": "a", "bigNumber": ' + number.encode() + b"}")

    assert (Whole(name="a"), ["type"]) == (whole, surprises)


def test_takes_a_broken_text_for_a_wrong_type() -> None:
    """A text that is no UTF-8 costs its field only."""
    whole, surprises = read(b'{"active": true, "name": "\xff"}')

    assert (Whole(active=True), ["type"]) == (whole, surprises)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"cut \\ud83d", "cut \N{REPLACEMENT CHARACTER}"),
        (b"\\uDE00 cut", "\N{REPLACEMENT CHARACTER} cut"),
        (b"\\ud83d\\ud83d\\ude00", "\N{REPLACEMENT CHARACTER}\N{GRINNING FACE}"),
        (b"\\ud83d \\\\ud83d", "\N{REPLACEMENT CHARACTER} \\ud83d"),
    ],
)
def test_takes_half_a_pair_of_surrogates(text: bytes, name: str) -> None:
    """A text that was cut in the middle of an emoji must not cost the whole reply."""
    whole, _ = read(b'{"unwanted": "\\ud83d", "name": "' + text + b'"}')

    assert Whole(name=name) == whole


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>secret</html>",
        b'"secret"',
        b"[]",
        b"null",
        b'{"name": "secret"',
        b'{"name": "secret"} x',
        b'{"name": NaN}',
        b'{"bigNumber": Infinity}',
        b"\xff\xfe",
        b'{"\xff": "secret", "active": "x"}',
        b'{"x": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        b'{"part": ' * 1_000_000 + b"1" + b"}" * 1_000_000,
    ],
    ids=range(13),
)
def test_refuses_what_is_no_object(body: bytes) -> None:
    """A reply that cannot be read must be one error, which does not quote it."""
    with pytest.raises(CallError) as caught:
        read(body)

    assert Reason.DECODE == caught.value.reason
    assert "look: the reply is not the JSON that was expected" == str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_reads_a_list_at_the_top() -> None:
    """A reply that is a list is read like a list in a field."""
    surprises: list[str] = []

    parts = decode(b'[{"partId": 1}, 2]', list[Part], operation="look", surprise=surprises.append)

    assert [Part(part_id=1)] == parts
    assert ["type"] == surprises


# The machine's speed is not what is tested.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@patient
@given(
    st.dictionaries(
        st.sampled_from(["name", "active", "bigNumber", "part", "parts", "ids", "byKey"]), _values
    )
)
def test_reads_any_object(body: dict[str, object]) -> None:
    """No JSON value in any field makes the decoder raise."""
    whole, _ = read(json.dumps(body).replace("Infinity", "1e999").encode())

    assert isinstance(whole, Whole)


@patient
@given(st.binary())
def test_raises_nothing_but_its_own_error(body: bytes) -> None:
    """No body at all makes the decoder raise anything else."""
    with suppress(CallError):
        read(body)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (0, 0.0),
        (1.5, 1.5),
        (10**400, None),
        (math.inf, None),
        (-math.inf, None),
        (math.nan, None),
    ],
)
def test_lets_finite_numbers_through(value: float | None, expected: float | None) -> None:
    """Only what can be a sample's value is one."""
    assert expected == finite(value)


class Secretive(msgspec.Struct, rename="camel"):
    part_id: int | None = None
    auth_token: msgspec.Raw = msgspec.Raw()


class Holder(msgspec.Struct, rename="camel"):
    name: str | None = None
    parts: tuple[Secretive, ...] | None = None
    by_key: dict[str, Secretive] | None = None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"name": "a"}', {"name": "a"}),
        (b'{"name": null}', {"name": None}),
        (b'{"name": {"password": "x"}}', {"name": "<not shown>"}),
        (b'{"password": "x"}', {"password": "<not shown>"}),
        (
            b'{"parts": [{"partId": 1, "authToken": "x", "more": 2}, "y"]}',
            {
                "parts": [
                    {"partId": 1, "authToken": "<secret>", "more": "<not shown>"},
                    "<not shown>",
                ]
            },
        ),
        (b'{"byKey": {"k": {"partId": 1}}}', {"byKey": {"k": {"partId": 1}}}),
        (b'{"parts": "x"}', {"parts": "<not shown>"}),
        (b"[]", "<not shown>"),
        (b"secret", "<not shown>"),
        (b'{"x": ' + b"[" * 100_000, "<not shown>"),
    ],
    ids=range(10),
)
def test_redaction_shows_only_what_is_wanted(body: bytes, expected: object) -> None:
    """Wanted fields of the right type are shown, all others are named, secrets are neither."""
    assert expected == redacted_reply(body, Holder)


class Either(msgspec.Struct):
    one_or_many: Part | tuple[Part, ...] | None = None


EITHER = [
    (b'{"one_or_many": {"partId": 1, "more": 2}}', Part(part_id=1)),
    (b'{"one_or_many": [{"partId": 1, "more": 2}]}', (Part(part_id=1),)),
    (b'{"one_or_many": {"partId": "x", "more": 2}}', Part()),
    (b'{"one_or_many": [{"partId": "x", "more": 2}, {"partId": 1}]}', (Part(), Part(part_id=1))),
    (b'{"one_or_many": null}', None),
    (b'{"one_or_many": "x"}', None),
]


@pytest.mark.parametrize(("body", "expected"), EITHER)
def test_an_object_may_stand_in_a_list(body: bytes, expected: object) -> None:
    """Either is read as what it is, and an odd value costs that value only."""
    found = decode(body, Either, operation="test", surprise=lambda _: None)

    assert Either(one_or_many=expected) == found  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [body for body, _ in EITHER if b"more" in body])
def test_redaction_looks_into_either(body: bytes) -> None:
    """Fields that are not wanted must be hidden in an object as in a list of them."""
    shown = redacted_reply(body, Either)["one_or_many"]

    first = shown[0] if isinstance(shown, list) else shown
    assert "<not shown>" == first["more"]


@pytest.mark.parametrize(
    ("version", "minimum", "expected"),
    [
        ("4.8.9", "4.8.24", True),
        ("4.8.24", "4.8.9", False),
        ("4.8.24", "4.8.24", False),
        ("4.8", "4.8.0", False),
        ("4.8.0", "4.8", False),
        ("4.8", "4.8.1", True),
        ("4.10", "4.9.9", False),
        ("0.2.0", "10", True),
        ("v4.8.9", "4.8.9", False),
        ("4.8.9-beta", "4.8.9", False),
        ("4.8.9.RELEASE", "4.8.10", True),
        ("4.8.9 (build 7)", "4.8.10", True),
        ("4.8.9_7", "4.8.10", True),
        (" 4.8.9\n", "4.8.9", False),
        ("04.08.09", "4.8.9", False),
    ],
)
def test_older_compares_number_by_number(version: str, minimum: str, *, expected: bool) -> None:
    """Versions have the order of their numbers, not of their text."""
    assert expected is older(version, minimum)


@pytest.mark.parametrize("unreadable", ["", "unknown", "4..8", ".4", "4.", "٤.٨", "9" * 5000])
def test_older_knows_nothing_about_what_it_cannot_read(unreadable: str) -> None:
    """An unreadable version is neither older nor newer, on either side."""
    assert older(unreadable, "4.8.24") is None
    assert older("4.8.24", unreadable) is None


@patient
@given(st.text(), st.text())
def test_older_takes_any_text(version: str, minimum: str) -> None:
    """No text makes the comparison raise."""
    assert older(version, minimum) in (True, False, None)


_numbers = st.lists(st.integers(0, 10**6), min_size=4, max_size=4)


@patient
@given(_numbers, _numbers)
def test_older_orders_like_tuples(left: list[int], right: list[int]) -> None:
    """Versions of equal length are ordered as their numbers are."""
    assert (left < right) is older(".".join(map(str, left)), ".".join(map(str, right)))
