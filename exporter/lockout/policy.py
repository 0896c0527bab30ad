"""The rules by which a vendor locks callers out: one policy per provider."""

from __future__ import annotations

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The lock-out of a vendor.

    Attributes:
        refusals: So many refused calls within `seconds` block the caller's address.
        seconds: The time within which they are counted.
        block: How long the block lasts, as people read it; empty where the vendor documents no
            lock-out and the figures are a precaution.
    """

    refusals: int = 5
    seconds: float = 60.0
    block: str = ""

    @property
    def most(self) -> int:
        """Return how many calls may be refused within the window: the vendor's number less one."""
        return self.refusals - 1

    @property
    def window_seconds(self) -> float:
        """Return for how long a refusal counts: a second more than the vendor's, for its clock."""
        return self.seconds + 1.0

    @property
    def explanation(self) -> str:
        """Tell a newcomer why calls are held back."""
        if not self.block:
            return "so that the vendor has no reason to lock the exporter out"
        return f"since {self.consequence}, for everybody behind it"

    @property
    def consequence(self) -> str:
        """Tell what too many refused calls lead to."""
        return (
            f"{self.refusals} refused calls within {self.seconds:g} s block the address for"
            f" {self.block}"
        )
