"""Settings of the state: where it is kept, and under which name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from exporter.config.types import FilePath
from exporter.config.validation import Section


class StateSettings(Section):
    """The state that outlives the process and is shared by the processes of a host.

    Attributes:
        path: The folder it is kept in; the first entry of `$STATE_DIRECTORY` if not given, else
            `$XDG_STATE_HOME/loadfleet-exporter`.
        namespace: The installation's name. Of installations that use one state under different
            names, each has snapshots, memory and alerts of its own; the ledger is shared by all.
    """

    path: FilePath | None = None
    namespace: Annotated[str, Field(min_length=1, max_length=64)] = "loadfleet"
