"""The current numbers in Prometheus' text format (version 0.0.4)."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.index.readings import STATES
from bizcharts_pipeline.text.untrusted import plain
from bizcharts_pipeline.warehouse.published import CoinReading, Reading

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_LABEL = 64  # characters of a label's value
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})  # no label has a line end

Samples = Iterable[tuple[dict[str, str], float | None]]


def prometheus_text(hour: Reading | None, coins: Sequence[CoinReading], newest_computed_at: datetime | None) -> bytes:
    """Return the newest hour's reading and the coins of the newest day as Prometheus reads them; what is not there has
    no sample."""
    families: list[tuple[str, str, Samples]] = []
    if newest_computed_at is not None:
        computed = to_epoch(newest_computed_at)
        families.append(("newest_computed_timestamp_seconds", "When the newest row was computed.", [({}, computed)]))
    if hour is not None:
        names = ("value", "lo", "hi", "stance", "stance_lo", "stance_hi", "n", "n_eff", "coverage")
        families += [(f"index_{name}", _ABOUT[name], [({}, getattr(hour, name))]) for name in names]
        states = [({"state": state}, float(hour.state == state)) for state in STATES]
        families.append(("index_state", "1 for the state that the reading is in.", states))
    if coins:
        named = {plain(coin.coin_symbol, MAX_LABEL): coin for coin in reversed(coins)}  # no label twice
        scores: Samples = [({"coin": name}, coin.score) for name, coin in named.items()]
        mentions: Samples = [({"coin": name}, coin.mentions) for name, coin in named.items()]
        families.append(("coin_stance", "Stance towards the coin, -1 to 1, of the newest day.", scores))
        families.append(("coin_mentions", "Opening posts that name the coin, of the newest day.", mentions))
    return "".join(_family(*family) for family in families).encode()


_ABOUT = {
    "value": "The index of the newest hour, 0 (fear) to 100 (greed).",
    "lo": "Lower end of the index's 90 % interval.",
    "hi": "Upper end of the index's 90 % interval.",
    "stance": "The board's stance, -1 (bearish) to 1 (bullish).",
    "stance_lo": "Lower end of the stance's 90 % interval.",
    "stance_hi": "Upper end of the stance's 90 % interval.",
    "n": "Opening posts that count.",
    "n_eff": "Effective sample size, in posts.",
    "coverage": "Share of the window's hours that were collected.",
}


def _family(name: str, about: str, samples: Samples) -> str:
    lines = [f"bizcharts_{name}{_labels(labels)} {float(value)!r}\n" for labels, value in samples if value is not None]
    head = f"# HELP bizcharts_{name} {about}\n# TYPE bizcharts_{name} gauge\n"
    return head + "".join(lines) if lines else ""


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    said = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{said}}}"
