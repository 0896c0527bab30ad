"""The fields of a farm's replies that are wanted, and no others."""

from __future__ import annotations

import msgspec


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """A generator as the farm lists it."""

    id: str = ""
    name: str = ""
    alive: bool | None = None
    version: str = ""
    users: float | None = None


class Generators(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to `GET /api/generators`; `None` where it is something else."""

    generators: tuple[Generator, ...] | None = None


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """A test as the farm lists it: `running`, `done` or `stopped`."""

    id: str = ""
    name: str = ""
    state: str = ""
    passed: bool | None = None


class Tests(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to `GET /api/tests`; `None` where it is something else."""

    tests: tuple[Test, ...] | None = None
