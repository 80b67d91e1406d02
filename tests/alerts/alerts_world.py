"""Readings for tests of alerts."""

from datetime import datetime, timedelta

from bizcharts_pipeline.index.readings import label_of
from bizcharts_pipeline.warehouse.published import LIVE, CoinReading, Reading

BEGIN = datetime(2026, 11, 28)


def reading(start: datetime, value: float | None, *, final: bool = True, model: str = "lexicon") -> Reading:
    """An hour of the index whose interval reaches 5 points to either side."""
    return Reading(
        bucket_start=start,
        bucket="hour",
        value=value,
        lo=None if value is None else max(value - 5, 0),
        hi=None if value is None else min(value + 5, 100),
        label=None if value is None else label_of(value),
        state="no reading" if value is None else "normal",
        stance=0.1,
        stance_lo=0.05,
        stance_hi=0.15,
        stance_wide_lo=None,
        stance_wide_hi=None,
        history_days=365,
        n=100,
        n_eff=80.0,
        coverage=1.0,
        final=final,
        model_version=model,
        basis="live",
        computed_at=start + timedelta(hours=1, minutes=3),
        knowable_at=start + timedelta(hours=1),
    )


def hours(*values: float | None, final: bool = True) -> list[Reading]:
    """Adjacent hours."""
    return [reading(BEGIN + timedelta(hours=hour), value, final=final) for hour, value in enumerate(values)]


def coin(symbol: str, score: float | None, mentions: int, spread: float = 0.1) -> CoinReading:
    """A final hour of a coin whose interval reaches ``spread`` to either side."""
    return CoinReading(
        symbol, BEGIN, "hour", score, None if score is None else score - spread,
        None if score is None else score + spread, mentions, float(mentions), True, "lexicon", LIVE, BEGIN, BEGIN,
    )  # fmt: skip
