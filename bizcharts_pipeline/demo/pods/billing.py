"""Billing of the simulated account: each pod is billed by the second from order to termination, at its listed price
unless an injected fault raises it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class GpuOffer:
    """A GPU type and its price in USD per hour in each cloud; ``None``: not offered there."""

    gpu: str  # id
    displayed: str
    memory_gb: int
    secure: Decimal | None
    community: Decimal | None
    pool: str  # of serverless workers
    serverless: Decimal

    def usd_per_hour(self, cloud: str) -> Decimal | None:
        return {"SECURE": self.secure, "COMMUNITY": self.community}.get(cloud)


# Similar to the prices listed in 2026, otherwise made up.
OFFERS = (
    GpuOffer("NVIDIA GeForce RTX 4090", "RTX 4090", 24, Decimal("0.69"), Decimal("0.34"), "ADA_24", Decimal("1.12")),
    GpuOffer("NVIDIA GeForce RTX 3090", "RTX 3090", 24, Decimal("0.46"), Decimal("0.22"), "AMPERE_24", Decimal("0.69")),
    GpuOffer("NVIDIA RTX A5000", "RTX A5000", 24, Decimal("0.27"), Decimal("0.16"), "AMPERE_24", Decimal("0.69")),
    GpuOffer("NVIDIA L4", "L4", 24, Decimal("0.39"), None, "AMPERE_24", Decimal("0.69")),
    GpuOffer("NVIDIA A40", "A40", 48, Decimal("0.40"), None, "AMPERE_48", Decimal("1.22")),
)


@dataclass(frozen=True)
class Charge:
    """Cost of one pod so far."""

    pod_id: str
    name: str
    gpu: str
    cloud: str
    usd_per_hour: Decimal
    seconds: int
    ended: bool

    @property
    def usd(self) -> Decimal:
        return self.usd_per_hour * self.seconds / 3600


@dataclass(frozen=True)
class PodBill:
    """All charges, in the order of the pods' creation."""

    charges: tuple[Charge, ...]

    @property
    def usd(self) -> Decimal:
        return sum((charge.usd for charge in self.charges), Decimal(0))

    @property
    def alive(self) -> int:
        """Number of simulated pods that are still billed."""
        return sum(not charge.ended for charge in self.charges)

    def of(self, names: Iterable[str]) -> Decimal:
        """Return the cost of the simulated pods with these names."""
        wanted = set(names)
        return sum((charge.usd for charge in self.charges if charge.name in wanted), Decimal(0))

    def table(self) -> str:
        """Return the bill of the simulated account as text, one line per pod."""
        lines = [
            f"{charge.name:<40} {charge.gpu:<26} {charge.cloud:<10} {charge.seconds:>7} s  ${charge.usd:.6f}"
            + ("" if charge.ended else "  still running")
            for charge in self.charges
        ]
        return "\n".join([*lines, f"pods: {len(self.charges)}, ${self.usd:.6f}"])


def begun_seconds(seconds: float) -> int:
    """Return the billed seconds of a simulated pod; a started second counts as a full one."""
    return math.ceil(seconds)
