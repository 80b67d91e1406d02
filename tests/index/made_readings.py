"""A reading of the index for tests of what is shown."""

from datetime import datetime
from typing import Any

from bizcharts_pipeline.warehouse.published import Reading

DAY = datetime(2025, 1, 1)
NORMAL: dict[str, Any] = {
    "bucket_start": DAY, "bucket": "hour", "value": 24.0, "lo": 23.0, "hi": 24.4, "label": "Extreme Fear",
    "state": "normal", "stance": -0.2, "stance_lo": -0.25, "stance_hi": -0.15, "stance_wide_lo": None,
    "stance_wide_hi": None, "history_days": 365, "n": 250, "n_eff": 180.0, "coverage": 1.0, "final": True,
    "model_version": "test-1", "basis": "live", "computed_at": DAY, "knowable_at": DAY,
}  # fmt: skip


def reading(**columns: Any) -> Reading:
    """A normal reading with some columns changed."""
    return Reading(**{**NORMAL, **columns})
