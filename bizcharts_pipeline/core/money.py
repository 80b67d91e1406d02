"""Money as the ledgers keep it: whole nano-USD, which add up without rounding."""

from decimal import ROUND_CEILING, Decimal

NANO = 1_000_000_000


def nano_usd(usd: Decimal) -> int:
    """Return ``usd`` in nano-USD, rounded up."""
    return int((usd * NANO).to_integral_value(ROUND_CEILING))


def in_usd(nano: int) -> Decimal:
    """Return nano-USD in USD, exactly."""
    return Decimal(nano) / NANO
