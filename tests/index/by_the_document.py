"""The index computed from the tables by docs/methodology.md alone: slow, and nothing shared with the program.

Times are seconds since 1970. Names are those of the document.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from math import exp, log, sqrt
from typing import Any

HOUR, DAY = 3600.0, 86400.0
Z = 1.6448536269514722
SPEEDS = [3e-5 * (2e-2 / 3e-5) ** (i / 9) for i in range(10)]
COIN_FILTERS = [(g, T) for g in (0.003, 0.01, 0.03, 0.1, 0.3) for T in (48.0, 480.0)]
EDGES = [(25, "Extreme Fear"), (45, "Fear"), (56, "Neutral"), (76, "Greed"), (101, "Extreme Greed")]


@dataclass
class Vote:
    at: float
    s: float
    base: float  # certainty, and of coins the mention's certainty and the list's share
    looks: list[tuple[float, int]]
    group: int
    k: int = 1

    def u(self, as_of: float) -> float:
        known = [replies for seen, replies in self.looks if seen <= min(as_of, self.at + 2 * HOUR)]
        return self.base * (1 + log(1 + (known[-1] if known else 0)))

    def w(self, as_of: float) -> float:
        return self.u(as_of) * (L(self.k) - L(self.k - 1))

    def v(self, as_of: float) -> float:
        return self.u(as_of) ** 2 * (L(self.k) ** 2 - L(self.k - 1) ** 2)


def L(k: int) -> float:
    return 1 + log(k) if k else 0.0


def seconds(moment: datetime) -> float:
    return (moment - datetime(1970, 1, 1)).total_seconds()


def counted(votes: list[Vote]) -> list[Vote]:
    for place, vote in enumerate(votes):
        vote.k = 1 + sum(o.group == vote.group and o.at > vote.at - 2 * DAY for o in votes[:place])
    return votes


def load(query, model: str) -> tuple[list[Vote], dict[str, list[Vote]]]:
    """The market's votes and each coin's, by time; ``query`` runs SQL."""
    looks = defaultdict(list)
    for thread, seen, replies in query("SELECT thread_id, seen_at, reply_count FROM thread_observations ORDER BY 2"):
        looks[thread].append((seconds(seen), replies))
    named = defaultdict(dict)
    for thread, coin, certainty in query(
        "SELECT thread_id, coin_symbol, max(confidence) FROM coin_mentions GROUP BY ALL"
    ):
        named[thread][coin] = certainty
    market, coins = [], defaultdict(list)
    for thread, posted, group, s, c in query(
        "SELECT thread_id, posted_at, cluster_id, p_bullish - p_bearish, confidence "
        f"FROM thread_ops JOIN scored_posts USING (thread_id) WHERE model_version = '{model}' AND NOT sticky "
        "AND spam_score < 0.8 AND general = '' ORDER BY posted_at, thread_id"
    ):
        base, at = 0.25 + 0.75 * c, seconds(posted)
        market.append(Vote(at, s, base, looks[thread], group))
        for coin, certainty in named[thread].items():
            share = 1 / len(named[thread]) if len(named[thread]) > 4 else 1.0
            coins[coin].append(Vote(at, s, base * certainty * share, looks[thread], group))
    return counted(market), {coin: counted(votes) for coin, votes in coins.items()}


class Index:
    """Every hourly reading up to ``until``, with a prior of mean 0 and variance 0.5."""

    def __init__(self, query, model: str, until: datetime, minimum_days: int, history_days: int, no_reading: float):
        self.market, self.coins = load(query, model)
        self.times = [vote.at for vote in self.market]
        self.coin_times = {coin: [vote.at for vote in votes] for coin, votes in self.coins.items()}
        self.begin = self.times[0] // DAY * DAY - 2 * HOUR
        self.until = seconds(until)
        self.minimum_days, self.history_days, self.no_reading = minimum_days, history_days, no_reading
        self.polled = {seconds(at) // HOUR for (at,) in query("SELECT snapshot_at FROM catalog_snapshots")}
        self.daily: list[tuple[float, float]] = []
        self.rows: list[dict[str, Any]] = []
        self.coin_rows: list[tuple[str, float, int, float, float, float, float]] = []
        self.run()

    def part(self, after: float, until: float, coin: str | None = None) -> list[Vote]:
        votes, times = (self.market, self.times) if coin is None else (self.coins[coin], self.coin_times[coin])
        return votes[bisect_right(times, after) : bisect_right(times, until)]

    def run(self) -> None:
        b = 0.5
        m, P, l = [0.0] * 10, [b / 10] * 10, [0.0] * 10  # noqa: E741
        D, B, A = 5 * b, 5.0, 5.0
        coin_state: dict[str, tuple[float, list[float], list[float]]] = {}
        coin_l, coin_D, coin_B, coin_A = [0.0] * 10, 5 * b, 5.0, 5.0
        fade, forget = 2 ** (-1 / 120), 2 ** (-1 / 2160)
        settled, late = self.begin, 9e18  # replies as of the age of two hours
        t = self.begin + 3 * HOUR
        while t <= self.until:
            # One more hour is settled.
            settled += HOUR
            hour, day = self.part(settled - HOUR, settled), self.part(settled - DAY, settled)
            W, y = mean(hour, late)
            Y = mean(day, late)[1]
            n_eff = max(size(day, late), 1.0)
            D = fade * D + sum(x.v(late) * (x.s - Y) ** 2 for x in hour) / max(1 - 1 / n_eff, 0.5)
            B, A = fade * B + sum(x.v(late) for x in hour), fade * A + W
            S2 = max(D / B, 1e-6)
            for i in range(10):
                P[i] += SPEEDS[i] * S2
                if W > 0:
                    R = S2 * (B / A) / W
                    e, F = y - m[i], P[i] + R
                    l[i] = forget * l[i] - 0.35 * (log(F) + e * e / F)
                    m[i], P[i] = m[i] + P[i] / F * e, P[i] * R / F
            g = shares(l)
            M = sum(x * y for x, y in zip(g, m, strict=True))
            # The coins of that hour.
            here = {coin: self.part(settled - HOUR, settled, coin) for coin in self.coins}
            here = {coin: votes for coin, votes in here.items() if votes}
            every = [x for votes in here.values() for x in votes]
            coin_D = fade * coin_D + sum(x.v(late) * (x.s - M) ** 2 for x in every)
            coin_B, coin_A = fade * coin_B + sum(x.v(late) for x in every), fade * coin_A + mean(every, late)[0]
            coin_S2 = max(coin_D / coin_B, 1e-6)
            told = [0.0] * 10
            for coin, votes in here.items():
                cm, cP = carried(coin_state.get(coin), settled, coin_S2)
                cW, cy = mean(votes, late)
                for i in range(10):
                    R = coin_S2 * (coin_B / coin_A) / cW
                    e, F = cy - M - cm[i], cP[i] + R
                    told[i] += log(F) + e * e / F
                    cm[i], cP[i] = cm[i] + cP[i] / F * e, cP[i] * R / F
                coin_state[coin] = (settled, cm, cP)
            if here:
                coin_l = [forget * old - 0.35 * new for old, new in zip(coin_l, told, strict=True)]
            self.read(t, settled, list(m), list(P), g, S2, B / A, coin_state, shares(coin_l), coin_S2, coin_B / coin_A)
            t += HOUR

    def read(self, t, settled, m, P, g, S2, ratio, coin_state, coin_g, coin_S2, coin_ratio) -> None:
        for end in (settled + HOUR, t):
            W, y = mean(self.part(end - HOUR, end), t)
            for i in range(10):
                P[i] += SPEEDS[i] * S2
                if W > 0:
                    gain = P[i] / (P[i] + S2 * ratio / W)
                    m[i], P[i] = m[i] + gain * (y - m[i]), P[i] * (1 - gain)
        f = [0.45, 0.8, 0.9, 1.5, 1.5, 1.5, 1.0, 1.0, 1.0, 1.0]
        stance = sum(a * b for a, b in zip(g, m, strict=True))
        U = sum(g[i] * (f[i] * P[i] + (m[i] - stance) ** 2) for i in range(10))
        lo, hi = max(stance - Z * sqrt(U), -1), min(stance + Z * sqrt(U), 1)
        window = self.part(t - DAY, t)
        n, n_eff = len(window), size(window, t)
        hours = [t // HOUR - back for back in range(1, 25)]
        known = [hour for hour in hours if hour >= min(self.polled)]
        coverage = sum(hour in self.polled for hour in hours) / 24 if known else None
        days_end = -(-t // DAY) * DAY
        past = sorted(E for at, E in self.daily if days_end - self.history_days * DAY <= at < days_end)
        if t % DAY == 0 and window:
            self.daily.append((t, stance))
        if n_eff < self.no_reading:
            state = "no reading"
        elif len(past) < self.minimum_days:
            state = "calibrating"
        else:
            state = "thin" if n_eff < 30 or (coverage is not None and coverage < 0.5) else "normal"
        value = label = None
        if state in ("thin", "normal"):
            value = rank(past, stance)
            label = next(name for edge, name in EDGES if float(f"{value:.0f}") < edge)
        if window or coverage is not None:
            self.rows.append(
                {
                    "at": t, "stance": stance, "stance_lo": lo, "stance_hi": hi, "n": n, "n_eff": n_eff,
                    "raw_stance": mean(window, t)[1] if window else None, "state": state, "value": value,
                    "label": label, "lo": None if value is None else rank(past, lo),
                    "hi": None if value is None else rank(past, hi), "history_days": len(past), "coverage": coverage,
                }
            )  # fmt: skip
            self.read_coins(t, settled, stance, U, coin_state, coin_g, coin_S2, coin_ratio)

    def read_coins(self, t, settled, stance, U, states, g, S2, ratio) -> None:
        for coin in self.coins:
            window = self.part(t - 2 * DAY, t, coin)
            if not window:
                continue
            state = states.get(coin)
            for end in (settled + HOUR, t):
                W, y = mean(self.part(end - HOUR, end, coin), t)
                if W > 0:
                    m, P = carried(state, end, S2)
                    gain = [p / (p + S2 * ratio / W) for p in P]
                    m = [a + k * (y - stance - a) for a, k in zip(m, gain, strict=True)]
                    state = (end, m, [p * (1 - k) for p, k in zip(P, gain, strict=True)])
            m, P = carried(state, t, S2)
            middle = sum(a * b for a, b in zip(g, m, strict=True))
            spread = U + sum(g[i] * (P[i] + (m[i] - middle) ** 2) for i in range(10))
            score, reach = stance + middle, Z * sqrt(spread)
            lo, hi = max(score - reach, -1), min(score + reach, 1)
            self.coin_rows.append((coin, t, len(window), size(window, t), min(max(score, -1), 1), lo, hi))


def mean(votes: list[Vote], as_of: float) -> tuple[float, float]:
    W = sum(x.w(as_of) for x in votes)
    return W, sum(x.w(as_of) * x.s for x in votes) / W if W else 0.0


def size(votes: list[Vote], as_of: float) -> float:
    return sum(x.w(as_of) for x in votes) ** 2 / sum(x.v(as_of) for x in votes) if votes else 0.0


def shares(evidence: list[float]) -> list[float]:
    most = max(evidence)
    odds = [exp(x - most) for x in evidence]
    return [x / sum(odds) for x in odds]


def carried(state, at: float, S2: float) -> tuple[list[float], list[float]]:
    if state is None:
        return [0.0] * 10, [g * S2 for g, _ in COIN_FILTERS]
    since, m, P = state
    h = [2 ** (-(at - since) / HOUR / T) for _, T in COIN_FILTERS]
    return (
        [h[i] * m[i] for i in range(10)],
        [h[i] ** 2 * P[i] + (1 - h[i] ** 2) * COIN_FILTERS[i][0] * S2 for i in range(10)],
    )


def rank(past: list[float], stance: float) -> float:
    less, up_to = bisect_left(past, stance), bisect_right(past, stance)
    return 100 * (less + (up_to - less) / 2 + 0.5) / (len(past) + 1)
