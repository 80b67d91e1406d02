"""A few trading rules, fixed in advance, after costs, compared with holding the coin.

The position of a day is decided with the mood that was knowable at its begin. Whether any rule beats holding is one
test for all of them: Hansen's test of superior predictive ability (2005, Journal of Business & Economic Statistics 23).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.lab.bootstrap import REPETITIONS
from bizcharts_pipeline.lab.events import EDGES
from bizcharts_pipeline.lab.series import Floats, lagged
from bizcharts_pipeline.lab.sharpe import sharpe_ratio

COST = 0.001  # of the traded amount: 10 basis points to buy, and as much to sell
DAYS_OF_YEAR = 365
FEAR, GREED = EDGES
MIDDLE = 50.0


@dataclass(frozen=True)
class Rule:
    """A rule: what it does in words, and the position (-1, 0 or 1) for each mood; without a mood it has none."""

    name: str
    words: str
    position: Callable[[Floats], Floats]


RULES = (
    Rule("fear-long", f"hold below {FEAR:.0f}, else nothing", lambda mood: np.where(mood < FEAR, 1.0, 0.0)),
    Rule("greed-flat", f"hold, but nothing from {GREED:.0f} on", lambda mood: np.where(mood < GREED, 1.0, 0.0)),
    Rule(
        "contrarian",
        f"hold below {FEAR:.0f}, sell short from {GREED:.0f} on, else nothing",
        lambda mood: np.where(mood < FEAR, 1.0, np.where(mood >= GREED, -1.0, 0.0)),
    ),
    Rule("momentum", f"hold above {MIDDLE:.0f}, else nothing", lambda mood: np.where(mood > MIDDLE, 1.0, 0.0)),
)


@dataclass(frozen=True)
class Traded:
    """One rule's days. ``returns`` are simple daily ones after costs, shape ``(n,)``."""

    rule: Rule
    returns: Floats
    position: Floats
    traded: float  # sum of the changes of the position


@dataclass(frozen=True)
class Performance:
    """What came of a rule, after costs."""

    rule: str
    words: str
    mean_a_year: float  # simple return, arithmetic
    sharpe: float  # a year
    exposure: float  # share of the days with a position
    trades_a_year: float
    deflated_sharpe: float | None  # probability that it is better than the luckiest of all trials; None: no trades


@dataclass(frozen=True)
class Comparison:
    """All rules beside holding. ``p``: of the test that none of them beats holding."""

    n: int  # days
    p: float
    trials: int  # configurations ever run, which the deflation counts
    hold_mean_a_year: float
    hold_sharpe: float
    rules: tuple[Performance, ...]


def trade(mood: Floats, returns: Floats, cost: float = COST) -> tuple[Floats, tuple[Traded, ...]]:
    """Return the simple daily returns of holding the coin, and each trading rule's days; days without a price are left
    out.

    ``mood`` (0 to 100) and log ``returns`` are by day, NaN for gaps.
    """
    known = np.isfinite(returns) & (np.arange(returns.size) > 0)
    simple = np.expm1(returns[known])
    decided = lagged(mood, 1)[known]
    done = []
    for rule in RULES:
        position = np.where(np.isfinite(decided), rule.position(decided), 0.0)
        changes = np.abs(np.diff(position, prepend=0.0))
        done.append(Traded(rule, position * simple - cost * changes, position, float(changes.sum())))
    return simple, tuple(done)


def superior_p(hold: Floats, traded: tuple[Traded, ...], *, seed: int, repetitions: int = REPETITIONS) -> float:
    """Return Hansen's consistent p-value that no trading rule has a higher mean return than holding.

    The block of the stationary bootstrap is the longest that the rules' differences ask for.
    """
    from arch.bootstrap import SPA, optimal_block_length

    differences = [each.returns - hold for each in traded]
    varied = [each for each in differences if each.std() > 0]
    if not varied:
        return 1.0
    block = max(float(optimal_block_length(each)["stationary"].iloc[0]) for each in varied)
    test = SPA(
        np.zeros(hold.size),
        -np.column_stack(varied),
        block_size=int(np.clip(np.ceil(block), 1, max(hold.size // 4, 1))),
        reps=repetitions,
        bootstrap="stationary",
        seed=np.random.default_rng(seed),
    )
    test.compute()
    reached = round(float(test.pvalues["consistent"]) * repetitions)
    return (1 + reached) / (1 + repetitions)  # a bootstrap of finite size never shows that a p-value is 0


def performance(traded: Traded, deflated_sharpe: float | None) -> Performance:
    """Return the figures of a trading rule's days."""
    mean, ratio = a_year(traded.returns)
    years = max(traded.returns.size, 1) / DAYS_OF_YEAR
    exposure = float(np.mean(traded.position != 0)) if traded.position.size else 0.0
    rule = traded.rule
    return Performance(rule.name, rule.words, mean, ratio, exposure, traded.traded / years, deflated_sharpe)


def a_year(returns: Floats) -> tuple[float, float]:
    """Return mean and Sharpe ratio a year of simple daily ``returns``."""
    return float(returns.mean()) * DAYS_OF_YEAR, sharpe_ratio(returns) * DAYS_OF_YEAR**0.5
