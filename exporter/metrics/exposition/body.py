"""Join rendered lines to what is sent: plain or packed, in either format.

A packed page is one gzip member, since many clients read only the first. It is put together from
deflated pieces that each end with a full flush and therefore stand on their own: what did not
change is not deflated again, and the exporter's own metrics can follow as a last piece.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from enum import Enum, unique
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.metrics.catalogue import FAMILIES, Family


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from types import ModuleType


_zlib: ModuleType
try:
    _zlib = importlib.import_module("isal.isal_zlib")
except ImportError:  # pragma: no cover  # only where the extra `speed` is not installed
    _zlib = zlib

T = TypeVar("T")

# Smaller pieces are packed together, as single ones they would hardly shrink.
_WORTH_PACKING = 16 * 1024
# How much is packed between two pauses: about a millisecond with isal.
_SLICE = 1024 * 1024

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# Raw deflate; the gzip header and trailer are ours.
_RAW = -zlib.MAX_WBITS


@unique
class Format(Enum):
    """A text format; what differs are the families' heads and the end of the page."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"

    @property
    def end(self) -> str:
        """Return the last line of a page."""
        return "" if self is Format.TEXT else "# EOF\n"

    def head(self, empty: Metric) -> bytes:
        """Let prometheus-client write the head of a family, given without samples."""
        generate: Callable[[Any], bytes] = (
            generate_latest if self is Format.TEXT else generate_openmetrics
        )
        return generate(_Only(empty)).removesuffix(b"# EOF\n")


class _Only:
    """A registry of one family."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


class Piece:
    """Lines of one family.

    Attributes:
        text: The lines.
        samples: How many they are.
    """

    __slots__ = ("_deflated", "samples", "text")

    def __init__(self, text: bytes, samples: int) -> None:
        self.text = text
        self.samples = samples
        self._deflated: bytes | None = None

    def deflated(self) -> bytes:
        """Return the lines packed, which happens once."""
        if self._deflated is None:
            self._deflated = _deflate(self.text, zlib.Z_FULL_FLUSH)
        return self._deflated


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of a gzip member.

    Attributes:
        data: Its header and deflated pieces, without an end.
        crc: Checksum of what was packed.
        size: Length of what was packed.
    """

    data: bytes
    crc: int
    size: int

    def end(self, last: bytes) -> bytes:
        """Return what follows the data in the whole member, with a last piece in it."""
        crc = _zlib.crc32(last, self.crc)
        size = self.size + len(last)
        trailer = struct.pack("<LL", crc, size & 0xFFFFFFFF)
        return _deflate(last, zlib.Z_FINISH) + trailer


class Packer:
    """Packs small pieces, remembering those of the page before."""

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    def pack(self, parts: Iterable[Piece]) -> Generator[None, None, Packed]:
        """Pack the parts of a page, yielding from time to time."""
        used: dict[bytes, bytes] = {}
        data = [_GZIP_HEADER]
        crc = size = paused = 0
        for group in _groups(parts):
            if len(group) == 1 and len(group[0].text) >= _WORTH_PACKING:
                text, deflated = group[0].text, group[0].deflated()
            else:
                text = b"".join([part.text for part in group])
                deflated = self._known.get(text) or _deflate(text, zlib.Z_FULL_FLUSH)
                used[text] = deflated
            data.append(deflated)
            crc = _zlib.crc32(text, crc)
            size += len(text)
            if size - paused >= _SLICE:
                paused = size
                yield
        self._known = used
        return Packed(data=b"".join(data), crc=crc, size=size)


class Body:
    """All vendor families at one moment, in every form that was asked for."""

    def __init__(
        self, pieces: Mapping[str, Sequence[Piece]], packers: Mapping[Format, Packer]
    ) -> None:
        self._pieces = pieces
        self._packers = packers
        self._plain: dict[Format, bytes] = {}
        self._packed: dict[Format, Packed] = {}

    def texts(self, form: Format) -> tuple[bytes, ...]:
        """Return the families as they are, piece by piece."""
        return tuple(part.text for part in self._parts(form))

    def plain(self, form: Format) -> bytes:
        """Return the families as they are."""
        if form not in self._plain:
            self._plain[form] = b"".join(self.texts(form))
        return self._plain[form]

    def packed(self, form: Format) -> Generator[None, None, Packed]:
        """Return the families packed, yielding from time to time while they are not yet."""
        if form not in self._packed:
            self._packed[form] = yield from self._packers[form].pack(self._parts(form))
        return self._packed[form]

    def size(self) -> int:
        """Compute the length of the text format."""
        return sum(len(part.text) for part in self._parts(Format.TEXT))

    def _parts(self, form: Format) -> Iterable[Piece]:
        for family in FAMILIES:
            pieces = self._pieces.get(family.name)
            if pieces:
                yield _HEADS[form][family.name]
                yield from pieces


def finish(generator: Generator[None, None, T]) -> T:
    """Run a generator to its end without a pause and return its value."""
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return cast("T", stop.value)


def _groups(parts: Iterable[Piece]) -> Generator[list[Piece], None, None]:
    group: list[Piece] = []
    length = 0
    for part in parts:
        large = len(part.text) >= _WORTH_PACKING
        if group and (large or length >= _WORTH_PACKING):
            yield group
            group, length = [], 0
        group.append(part)
        length += len(part.text)
        if large:
            yield group
            group, length = [], 0
    if group:
        yield group


def _deflate(text: bytes, flush: int) -> bytes:
    compressor = _zlib.compressobj(1, zlib.DEFLATED, _RAW)
    return bytes(compressor.compress(text) + compressor.flush(flush))


def _head(family: Family, form: Format) -> Piece:
    name = family.name.removesuffix("_info") if family.kind == "info" else family.name
    return Piece(form.head(Metric(name, family.help, family.kind)), 0)


_HEADS: Mapping[Format, Mapping[str, Piece]] = {
    form: {family.name: _head(family, form) for family in FAMILIES} for form in Format
}
