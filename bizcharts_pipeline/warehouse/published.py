"""The published numbers as typed rows; :mod:`.as_of` reads them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Bucket = Literal["hour", "day"]
LENGTHS: dict[Bucket, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
LIVE = "live"  # basis of a row that was computed as its bucket ended


@dataclass(frozen=True)
class Reading:
    """One hour or day of the Fear/Greed index: the state at the bucket's end. Times are naive UTC."""

    bucket_start: datetime
    bucket: Bucket
    value: float | None  # 0 (fear) to 100 (greed); None: no reading, or still calibrating
    lo: float | None  # 90 % interval
    hi: float | None
    label: str | None  # one of the five classes
    state: str  # 'normal', 'thin', 'calibrating' or 'no reading'
    stance: float | None  # -1 to 1, with its 90 % interval
    stance_lo: float | None
    stance_hi: float | None
    stance_wide_lo: float | None  # 90 % interval including the scoring model's error; None: not measured on gold
    stance_wide_hi: float | None
    history_days: int | None  # daily points that the value is ranked in, or would be
    n: int  # opening posts that count
    n_eff: float
    coverage: float | None
    final: bool
    model_version: str
    basis: str  # :data:`LIVE` or 'reconstructed'
    computed_at: datetime
    knowable_at: datetime

    @property
    def ended_at(self) -> datetime:
        """The end of the bucket of this reading of the index."""
        return self.bucket_start + LENGTHS[self.bucket]


@dataclass(frozen=True)
class CoinReading:
    """One coin in one bucket. Times are naive UTC."""

    coin_symbol: str
    bucket_start: datetime
    bucket: Bucket
    score: float | None  # -1 to 1, with its 90 % interval; None: no longer mentioned
    lo: float | None
    hi: float | None
    mentions: int
    n_eff: float
    final: bool
    model_version: str
    basis: str  # :data:`LIVE` or 'reconstructed'
    computed_at: datetime
    knowable_at: datetime

    @property
    def ended_at(self) -> datetime:
        """The end of the bucket of this reading of a coin."""
        return self.bucket_start + LENGTHS[self.bucket]
