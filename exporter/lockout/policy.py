"""The lock-out rules of a vendor: one policy per provider."""

from __future__ import annotations

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The lock-out rule of a vendor.

    Attributes:
        refusals: Number of refused calls within `seconds` that block the caller's address.
        seconds: The period in which the vendor counts refused calls.
        block: How long the block lasts, as text; empty where the vendor documents no lock-out and
            the numbers are a precaution.
    """

    refusals: int = 5
    seconds: float = 60.0
    block: str = ""

    @property
    def most(self) -> int:
        """The highest harmless number of refused calls: one less than the vendor's limit."""
        return self.refusals - 1

    @property
    def window_seconds(self) -> float:
        """The time for which a refusal counts, with a second's tolerance for the vendor's clock."""
        return self.seconds + 1.0

    @property
    def explanation(self) -> str:
        """The reason why calls are blocked, as the end of a sentence."""
        if not self.block:
            return "so that the vendor has no reason to lock the exporter out"
        return f"since {self.consequence}, for everybody behind it"

    @property
    def consequence(self) -> str:
        """The consequence of too many refused calls, as a clause."""
        return (
            f"{self.refusals} refused calls within {self.seconds:g} s block the address for"
            f" {self.block}"
        )
