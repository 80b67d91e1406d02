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
_BASIS = Column("basis", "text", "live: computed within two hours from posts seen on the board; else reconstructed")
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
    _BASIS,
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
    _BASIS,
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

SWITCHES = (
    Column("switched_at", "UTC time", "when the model became champion"),
    Column("model_version", "text", "the model"),
    Column("former", "text", "the model that it replaced; empty: there was none"),
    Column(
        "published_at",
        "UTC time",
        "when its first reading was computed, which is where the published values break; empty: not all posts have its "
        "score yet, or it was replaced before",
    ),
    Column("shift", "index points", "by how much the switch moved the index, as measured before it; empty: it was not"),
    Column("shift_lo", "index points", "lower end of the shift's 90 % interval"),
    Column("shift_hi", "index points", "upper end of the shift's 90 % interval"),
)

_COUNTS = Column("counts", "true or false", "whether it counts in the index: generals about stocks and the like do not")
_SHARE = Column("share", "0 to 1", "share of all threads of the days asked for")
_MOOD = "weighted mean stance of these posts alone, with its 90 % interval (`lo`, `hi`) and effective sample size"
GENERALS = (
    Column("name", "text", "tag of the general, smg for /smg/; empty: all other threads"),
    Column("threads", "threads", "how many were opened"),
    _SHARE,
    Column("replies", "replies", "per thread two hours after it began, the mean; 0 of threads from the archive"),
    Column("newest_at", "UTC time", "when the newest of its threads was opened"),
    _COUNTS,
    Column("mood", "object", _MOOD),
)
SHILLING = (
    Column("coin_symbol", "text", "symbol of the coin"),
    Column("posts", "posts", "opening posts that name the coin and count"),
    Column("adverts", "posts", "advertisements that name the coin: they do not count, and are not in `posts`"),
    _SHARE,
    Column("copies", "posts", "nearly the text of a post of the 48 hours before"),
    Column("same_picture", "posts", "share a picture with at least two others that name the coin"),
    Column("same_host", "posts", "link to a host as at least two others do that name the coin; common hosts excepted"),
    Column("suspected", "posts", "show any of these three signs"),
    Column("mood", "object", f"all posts: {_MOOD}"),
    Column("without", "object", f"the posts that are not suspected: {_MOOD}"),
)
COPIES = (
    Column("first_post", "thread", "number of the post that the others are copies of"),
    Column("posts", "posts", "size of the group"),
    Column("first_at", "UTC time", "when the first post of the days asked for was made"),
    Column("last_at", "UTC time", "when the last one was made"),
    Column("most_in_an_hour", "posts", "most of them within any hour"),
    Column("pictures", "pictures", "different ones"),
    Column("general", "text", "general that most of them belong to; empty: none"),
    Column("coins", "texts", "symbols of the coins that they name"),
    Column("stance", "-1 to 1", "weighted mean stance"),
    Column("weight", "weight", "what they weigh in the index together"),
    Column("lost", "0 to 1", "share of their weight that the discount for copies took"),
    _COUNTS,
    Column("raid", "true or false", "whether at least five came within an hour"),
)


def times_of(columns: tuple[Column, ...]) -> list[str]:
    """Return the names of the exported columns that hold times."""
    return [column.name for column in columns if column.unit == "UTC time"]


def as_markdown(title: str, tables: dict[str, tuple[Column, ...]]) -> str:
    """Return the data dictionary of the exported ``tables`` (name to columns) as a Markdown document."""
    parts = [f"# {title}", "", "Times are UTC. An empty cell means that there is no such number.", ""]
    for name, columns in tables.items():
        parts += [f"## {name}", "", "| column | unit | meaning |", "|---|---|---|"]
        parts += [f"| {column.name} | {column.unit} | {column.meaning} |" for column in columns]
        parts.append("")
    return "\n".join(parts)
