"""Money in the ledgers: integer nano-USD, which add up without rounding."""

from decimal import ROUND_CEILING, Decimal

NANO = 1_000_000_000


def nano_usd(usd: Decimal) -> int:
    """Return ``usd`` in nano-USD, rounded up."""
    return int((usd * NANO).to_integral_value(ROUND_CEILING))


def in_usd(nano: int) -> Decimal:
    """Return the exact USD value of ``nano``."""
    return Decimal(nano) / NANO
