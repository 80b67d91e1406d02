"""The data dictionary: meaning and unit of each column that exports and API calls give."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    unit: str
    meaning: str


_BUCKET = (
    Column("bucket_start", "UTC time", "begin of the hour or day; the row is the state at its end"),
    Column("bucket", "hour or day", "length of the bucket"),
)
_FINAL = Column("final", "true or false", "false: the bucket is still running, and the next run replaces the row")
_MODEL = Column("model_version", "text", "the scoring model that the row was computed with")
_COMPUTED = (
    Column("computed_at", "UTC time", "when this vintage of the row was computed"),
    Column("knowable_at", "UTC time", "when all that the row rests on was known, and it could first be computed"),
)
_STANCE = (
    Column("stance", "-1 to 1", "mood of the board under the scoring model, bearish to bullish"),
    Column("stance_lo", "-1 to 1", "lower end of the stance's 90 % interval"),
    Column("stance_hi", "-1 to 1", "upper end of the stance's 90 % interval"),
)
_VALUE = (
    Column("value", "0 to 100", "rank of the stance among the daily stances of the past year; empty: no reading"),
    Column("lo", "0 to 100", "lower end of the value's 90 % interval"),
    Column("hi", "0 to 100", "upper end of the value's 90 % interval"),
)
_N_EFF = Column("n_eff", "posts", "effective sample size: weights, copies and doubtful posts taken into account")
_STATE = Column("state", "text", "normal, thin (read with caution), calibrating (no value yet) or no reading")

INDEX = (
    *_BUCKET,
    *_VALUE,
    Column("label", "text", "class of the value: Extreme Fear, Fear, Neutral, Greed or Extreme Greed"),
    _STATE,
    *_STANCE,
    Column("stance_wide_lo", "-1 to 1", "lower end of the interval that counts the model's error on gold posts too"),
    Column("stance_wide_hi", "-1 to 1", "upper end of that interval; empty: the model was not measured on gold posts"),
    Column("history_days", "days", "daily points that the value is ranked among"),
    Column("n", "posts", "opening posts that count"),
    _N_EFF,
    Column("coverage", "0 to 1", "share of the window's hours that were collected; empty: not known"),
    _FINAL,
    _MODEL,
    Column("basis", "text", "live: computed within two hours from posts seen on the board; else reconstructed"),
    *_COMPUTED,
)
COINS = (
    Column("coin_symbol", "text", "symbol of the coin"),
    *_BUCKET,
    Column("score", "-1 to 1", "stance towards the coin, bearish to bullish; empty: no longer mentioned"),
    Column("lo", "-1 to 1", "lower end of the score's 90 % interval"),
    Column("hi", "-1 to 1", "upper end of the score's 90 % interval"),
    Column("mentions", "posts", "opening posts that name the coin"),
    _N_EFF,
    _FINAL,
    _MODEL,
    *_COMPUTED,
)
CANDLES = (
    Column("open", "UTC time", "open of the candle; all other columns are empty in a gap"),
    *_VALUE,
    *_STANCE,
    _N_EFF,
    _STATE,
    Column("bucket_start", "UTC time", "begin of the hour that the reading is of; it ended at or before the open"),
    Column("knowable_at", "UTC time", "when the reading was knowable: at or before the open"),
    _MODEL,
)


def as_markdown(title: str, tables: dict[str, tuple[Column, ...]]) -> str:
    """Return the dictionary of ``tables`` (name to columns) as a Markdown document."""
    parts = [f"# {title}", "", "Times are UTC. An empty cell means that there is no such number.", ""]
    for name, columns in tables.items():
        parts += [f"## {name}", "", "| column | unit | meaning |", "|---|---|---|"]
        parts += [f"| {column.name} | {column.unit} | {column.meaning} |" for column in columns]
        parts.append("")
    return "\n".join(parts)
