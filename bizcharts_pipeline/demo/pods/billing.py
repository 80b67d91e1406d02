"""What the pretended account is charged: every pod from its order to its end, by the second, at the price that it
is charged, which is the listed one unless a fault makes it dearer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class GpuOffer:
    """A type of GPU and its price an hour (USD) in either cloud; ``None``: not offered there."""

    gpu: str  # id
    displayed: str
    memory_gb: int
    secure: Decimal | None
    community: Decimal | None

    def usd_per_hour(self, cloud: str) -> Decimal | None:
        return {"SECURE": self.secure, "COMMUNITY": self.community}.get(cloud)


# Of the order of what was listed in 2026; made up otherwise.
OFFERS = (
    GpuOffer("NVIDIA GeForce RTX 4090", "RTX 4090", 24, Decimal("0.69"), Decimal("0.34")),
    GpuOffer("NVIDIA GeForce RTX 3090", "RTX 3090", 24, Decimal("0.46"), Decimal("0.22")),
    GpuOffer("NVIDIA RTX A5000", "RTX A5000", 24, Decimal("0.27"), Decimal("0.16")),
    GpuOffer("NVIDIA L4", "L4", 24, Decimal("0.39"), None),
    GpuOffer("NVIDIA A40", "A40", 48, Decimal("0.40"), None),
)


@dataclass(frozen=True)
class Charge:
    """What one pod cost so far."""

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
        """Pods that still cost."""
        return sum(not charge.ended for charge in self.charges)

    def of(self, names: Iterable[str]) -> Decimal:
        """Return what the pods of these names cost."""
        wanted = set(names)
        return sum((charge.usd for charge in self.charges if charge.name in wanted), Decimal(0))

    def table(self) -> str:
        """Return the bill for people, a pod a line."""
        lines = [
            f"{charge.name:<40} {charge.gpu:<26} {charge.cloud:<10} {charge.seconds:>7} s  ${charge.usd:.6f}"
            + ("" if charge.ended else "  still running")
            for charge in self.charges
        ]
        return "\n".join([*lines, f"pods: {len(self.charges)}, ${self.usd:.6f}"])


def begun_seconds(seconds: float) -> int:
    """Return how many seconds of a life are charged: one that has begun counts."""
    return math.ceil(seconds)
