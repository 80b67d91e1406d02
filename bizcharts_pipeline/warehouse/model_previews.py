"""Table ``model_previews``: what another model says of the last days' posts, and the switches of the champion."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal

import duckdb

from bizcharts_pipeline.warehouse.as_of import visible
from bizcharts_pipeline.warehouse.values import literal, table

Outcome = Literal["preview", "held", "switched"]
PREVIEW: Final = "preview"  # only looked at
HELD: Final = "held"  # waits for a person to promote the model
SWITCHED: Final = "switched"  # the model became champion

_COLUMNS = {
    "made_at": "TIMESTAMP",
    "model_version": "VARCHAR",
    "champion": "VARCHAR",
    "outcome": "VARCHAR",
    "reason": "VARCHAR",
    "since": "TIMESTAMP",
    "posts": "INTEGER",
    "mean_old": "DOUBLE",
    "mean_new": "DOUBLE",
    "correlation": "DOUBLE",
    "class_changed": "DOUBLE",
    "stance_old": "DOUBLE",
    "stance_new": "DOUBLE",
    "value_old": "DOUBLE",
    "value_new": "DOUBLE",
    "shift": "DOUBLE",
    "shift_lo": "DOUBLE",
    "shift_hi": "DOUBLE",
    "mapped_days": "INTEGER",
    "changed_most": "JSON",
    "days_posts": "INTEGER",
}
_NAMES = ", ".join(_COLUMNS)
# A switch is published with the first row that was computed by the new model before the next switch.
_SWITCHES = """
WITH switches AS (
    SELECT *, lead(made_at) OVER (ORDER BY made_at) AS ended_at FROM model_previews WHERE outcome = 'switched'
)
SELECT s.made_at AS switched_at, s.model_version, s.champion AS former, min(i.computed_at) AS published_at, s.shift,
       s.shift_lo, s.shift_hi
FROM switches s LEFT JOIN (FROM fear_greed_index WHERE {visible}) i
  ON i.model_version = s.model_version AND i.computed_at >= s.made_at
     AND i.computed_at < coalesce(s.ended_at, TIMESTAMP 'infinity')
WHERE s.made_at <= {until}
GROUP BY ALL
"""


@dataclass(frozen=True)
class ModelPreview:
    """A row of ``model_previews``. Figures are ``None`` where nothing was measured; ``reason`` says why.

    Stances are -1 to 1, values and shifts are points of the index (0 to 100); times are naive UTC.
    """

    made_at: datetime
    model_version: str
    champion: str | None
    outcome: Outcome
    reason: str | None
    since: datetime | None = None
    posts: int = 0
    mean_old: float | None = None
    mean_new: float | None = None
    correlation: float | None = None
    class_changed: float | None = None
    stance_old: float | None = None
    stance_new: float | None = None
    value_old: float | None = None
    value_new: float | None = None
    shift: float | None = None
    shift_lo: float | None = None
    shift_hi: float | None = None
    mapped_days: int | None = None
    changed_most: tuple[Mapping[str, Any], ...] = ()  # thread_id, old, new; the largest change first
    days_posts: int | None = None  # that the champion has scored in the last days; ``posts`` are those compared


@dataclass(frozen=True)
class ModelSwitch:
    """A change of the champion. ``published_at`` is when the first reading by the new model was computed; ``None``: it
    has not scored all posts yet, or was replaced before. Times are naive UTC."""

    switched_at: datetime
    model_version: str
    former: str | None
    published_at: datetime | None
    shift: float | None  # points of the index, as previewed; None: not measured
    shift_lo: float | None
    shift_hi: float | None


def append_preview(connection: duckdb.DuckDBPyConnection, preview: ModelPreview) -> None:
    """Store the preview of a switch of models. Call it inside :meth:`Database.write`."""
    row = asdict(preview) | {"changed_most": [dict(each) for each in preview.changed_most]}
    connection.execute(f"INSERT INTO model_previews ({_NAMES}) SELECT {_NAMES} FROM {table([row], _COLUMNS)}")


def previews(connection: duckdb.DuckDBPyConnection, as_of: datetime | None = None) -> list[ModelPreview]:
    """Read from the database the previews of switches of models that had been made by ``as_of`` (naive UTC), oldest
    first.
    """
    made = "TRUE" if as_of is None else f"made_at <= {literal(as_of)}"
    rows = connection.execute(f"SELECT {_NAMES} FROM model_previews WHERE {made} ORDER BY made_at, rowid").fetchall()
    found = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    return [ModelPreview(**row | {"changed_most": tuple(json.loads(row["changed_most"]))}) for row in found]


def held(newest_first: Sequence[ModelPreview]) -> ModelPreview | None:
    """Return, of stored previews, that of the model that waits for a person to promote it; ``None``: none does."""
    decided = next((row for row in newest_first if row.outcome != PREVIEW), None)
    return decided if decided and decided.outcome == HELD else None


def switches_sql(as_of: datetime | None = None) -> str:
    """Return the SQL query for the stored changes of the champion (the columns of :class:`ModelSwitch`) as they were at
    ``as_of`` (naive UTC), in no order.
    """
    return _SWITCHES.format(visible=visible(as_of), until="TIMESTAMP 'infinity'" if as_of is None else literal(as_of))


def model_switches(connection: duckdb.DuckDBPyConnection, as_of: datetime | None = None) -> list[ModelSwitch]:
    """Read from the database the changes of the champion that had been made by ``as_of`` (naive UTC), oldest first."""
    rows = connection.execute(f"{switches_sql(as_of)} ORDER BY switched_at").fetchall()
    return [ModelSwitch(*row) for row in rows]
