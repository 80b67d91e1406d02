"""Spikes of a coin: more mentions, or another mood, than in the window before, judged by the interval of the change.

The window of a coin's reading is ``coin_window_hours`` long, so readings that far apart share no post.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import hypot, inf, sqrt

from bizcharts_pipeline.alerts.events import Event, utc
from bizcharts_pipeline.settings import AlertSettings
from bizcharts_pipeline.text.untrusted import plain
from bizcharts_pipeline.warehouse.published import CoinReading

COIN = "coin"
Z = 1.6448536269514722  # standard normal quantile of a two-sided 90 % interval


def coin_spikes(
    now: Mapping[str, CoinReading],
    before: Mapping[str, CoinReading],
    last: Mapping[str, datetime],
    settings: AlertSettings,
    hours: int,
) -> list[Event]:
    """Return the events to alert about that are spikes of the coins of one final hour.

    Args:
        now: the readings of that hour, by symbol.
        before: those of ``hours`` earlier, the length of a coin's window; a coin without mentions then is missing.
        last: when the last alert about each coin was.
    """
    found = []
    for symbol, reading in sorted(now.items()):
        at = reading.ended_at
        if reading.mentions < settings.coin_mentions or not reading.final:
            continue
        if symbol in last and at - last[symbol] < timedelta(hours=settings.coin_pause_hours):
            continue
        earlier = before.get(symbol)
        growth = least_growth(reading.mentions, earlier.mentions if earlier else 0)
        change = least_change(earlier, reading) if earlier else 0.0
        named, lines = plain(symbol, 20), []
        if growth >= settings.coin_factor:
            lines.append(
                f"{reading.mentions} mentions in {hours} hours, {earlier.mentions if earlier else 0} in the {hours} "
                f"before: with 95 % certainty at least {growth:.1f} times as many"
            )
        if abs(change) >= settings.coin_mood:
            assert earlier is not None
            lines.append(f"{hours} hours before: {_mood(earlier)}")
        if lines:
            title = f"BizCharts: {named}, {' and '.join(_what(growth, change, settings))}"
            text = (f"At {utc(at)}: {_mood(reading)}", *lines)
            found.append(Event(COIN, symbol, reading.bucket_start.isoformat(), title, text, at))
    return found


def least_growth(now: int, before: int) -> float:
    """Return, to decide on an alert about a coin's mentions, the lower end of the 90 % interval of the ratio of two
    rates, given their counts in windows of equal length.

    Given their sum, the first of two Poisson counts is binomial; this is Wilson's interval of its share as a ratio. A
    raid makes mentions depend on one another, so that the true interval is wider.
    """
    total = now + before
    if not now:
        return 0.0
    share, spread = now / total, Z * Z / total
    low = (share + spread / 2 - sqrt(spread * (share * (1 - share) + spread / 4))) / (1 + spread)
    return low / (1 - low) if low < 1 else inf


def least_change(before: CoinReading, now: CoinReading) -> float:
    """Return, to decide on an alert about a coin's mood, the end of the 90 % interval of its change (-2 to 2) that is
    nearer to none; 0 if it contains none.

    The two readings share no post, so the distances to the ends of their intervals add up as squares.
    """
    if None in (before.score, before.lo, before.hi, now.score, now.lo, now.hi):
        return 0.0
    assert before.score is not None and before.lo is not None and before.hi is not None  # noqa: PT018
    assert now.score is not None and now.lo is not None and now.hi is not None  # noqa: PT018
    change = now.score - before.score
    if change > 0:
        return max(change - hypot(now.score - now.lo, before.hi - before.score), 0.0)
    return min(change + hypot(now.hi - now.score, before.score - before.lo), 0.0)


def _what(growth: float, change: float, settings: AlertSettings) -> list[str]:
    said = ["many more mentions"] if growth >= settings.coin_factor else []
    if abs(change) >= settings.coin_mood:
        said.append("a more bullish mood" if change > 0 else "a more bearish mood")
    return said


def _mood(reading: CoinReading) -> str:
    if reading.score is None or reading.lo is None or reading.hi is None:
        return f"{reading.mentions} mentions, no mood"
    interval = f"90 % interval {reading.lo:+.2f} to {reading.hi:+.2f}"
    return f"mood {reading.score:+.2f} ({interval}), {reading.mentions} mentions"
