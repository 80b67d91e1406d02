"""The change of the stance between two moments as an exact sum of contributions.

Once the filters' gains and their shares in the mixture are known, the stance is a weighted mean: of the stances of the
posts, and of the state that the filters began with. So the change between two moments is a sum over posts, plus one
term for the shares, which depend on all posts at once. docs/methodology.md, section "What moved it", has the formulas.
"""

from dataclasses import dataclass

import numpy as np

from bizcharts_pipeline.index.level import RATES, Level, Path, gains, shares
from bizcharts_pipeline.index.market import Grid, read_market
from bizcharts_pipeline.index.series import lead_hours
from bizcharts_pipeline.index.sums import SETTLING_HOURS, hours_of, settled_weights
from bizcharts_pipeline.index.votes import HOUR, Bools, Floats, Ints, Posts, market_votes
from bizcharts_pipeline.settings import FearGreedSettings


@dataclass(frozen=True)
class Moment:
    """The stance at one moment as a weighted mean over ``P`` posts of ``H`` hours, for each of ``B`` filters.

    Filter ``i`` stands at ``begin_weight[i] * begin_mean[i]`` plus, over the posts, ``hour_weight[hour, i] * part *
    stance``. These weights add up to 1 for each filter.
    """

    at: int
    window_from: int  # the window of the reading has the posts made after this
    stance: float
    thread_id: Ints  # (P,) of the posts since the filters' begin, ascending
    posted_at: Ints  # (P,)
    score: Floats  # (P,) stance of the post
    hour: Ints  # (P,)
    part: Floats  # (P,) of the weight of all posts of the hour
    hour_weight: Floats  # (H, B)
    begin_mean: Floats  # (B,) the filters' state at their begin
    begin_weight: Floats  # (B,)
    share: Floats  # (B,) of each filter in the mixture

    @property
    def mean(self) -> Floats:
        """Stance by each of the index's filters (B,)."""
        hours = np.bincount(self.hour, self.part * self.score, len(self.hour_weight))
        return np.asarray(hours @ self.hour_weight + self.begin_weight * self.begin_mean)

    def weights(self, share: Floats) -> Floats:
        """Return the weight of each post's whole hour in the stance (P,) if the index's filters had the shares
        ``share``.
        """
        return np.asarray((self.hour_weight @ share)[self.hour])


def moment_of(posts: Posts, level: Level, state_at: int, at: int, parameters: FearGreedSettings) -> Moment:
    """Compute the market's stance at ``at`` and the weights of posts in it.

    Args:
        posts: all that count, as loaded up to ``at``, from at least :func:`~.series.look_back` before ``state_at``.
        level: the filters' state of the moment ``state_at``: two hours before it, as stored.
        state_at: a day's end at or before ``at``, in microseconds.
        at: microseconds since 1970.
        parameters: the index's settings.
    """
    posts = posts.part(posts.posted_at <= at)
    votes = market_votes(posts)
    grid = Grid.of(state_at, at, lead_hours(parameters))
    market = read_market(level, votes, grid, at, parameters.window_hours, running=True)
    count = grid.count + 1  # the running hour is the last
    inside = posts.posted_at > grid.begin
    hour = hours_of(votes, grid.begin)[inside]
    weight = settled_weights(votes)[inside]
    total = np.bincount(hour, weight, count).astype(np.float64, copy=False)  # where there is no post, bincount counts
    hour_weight, begin_weight = _hour_weights(market.path, total, (at - grid.full) / HOUR)
    order = np.argsort(posts.thread_id[inside], kind="stable")
    return Moment(
        at=at,
        window_from=at - parameters.window_hours * HOUR,
        stance=float(market.estimate.mean[-1]),
        thread_id=posts.thread_id[inside][order],
        posted_at=posts.posted_at[inside][order],
        score=posts.stance[inside][order],
        hour=hour[order],
        part=(weight / total[hour])[order],
        hour_weight=hour_weight,
        begin_mean=level.mean,
        begin_weight=begin_weight,
        share=shares(market.path.evidence[-1]),
    )


def _hour_weights(path: Path, weight: Floats, running: float) -> tuple[Floats, Floats]:
    """Weight of each of ``H`` hours' mean in each filter (H, B), and of the filters' begin (B,).

    ``weight`` (H,) is of the hours' posts: of the settled hours of ``path``, of the last two full ones, and of the
    running one, of which ``running`` hours have passed.
    """
    settled = len(weight) - SETTLING_HOURS - 1
    before = path.variance[:-1] + np.multiply.outer(path.post_variance[1:], RATES)
    gain = list(gains(before, path.error[1:], weight[:settled]))
    variance = path.variance[-1:]
    for length, here in zip((1.0, 1.0, running), weight[settled:, None], strict=True):
        variance = variance + path.post_variance[-1] * RATES * length
        here_gain = gains(variance, path.error[-1:], here)
        variance = variance * (1 - here_gain)
        gain += list(here_gain)
    kept = np.cumprod(1 - np.array(gain)[::-1], axis=0)[::-1]  # of what was before each hour
    after = np.append(kept[1:], np.ones((1, len(RATES))), axis=0)
    return np.array(gain) * after, kept[0]


@dataclass(frozen=True)
class Contributions:
    """Terms of the change of the stance: four for each of ``N`` posts, and two that belong to no post."""

    thread_id: Ints  # (N,) ascending; of either moment
    posted_at: Ints  # (N,)
    score: Floats  # (N,) stance of the post
    weight_before: Floats  # (N,) of the post in the stance at each moment, 0 to 1
    weight_after: Floats
    new: Bools  # (N,) counted only at the later moment
    gone: Bools  # (N,) out of the reading's window since the earlier moment, or no longer counted
    came: Floats  # (N,) by posts that are new
    left: Floats  # (N,) by the lost weight of posts that are gone
    reweighted: Floats  # (N,) by other weights within their hour: replies, copies
    memory: Floats  # (N,) by the fading weight of the hour
    begin: float  # by the fading weight of the state that the filters began with, so of all earlier posts
    mixture: float  # by other shares of the filters
    begin_weight: float  # of that state in the stance at the earlier moment

    @property
    def effect(self) -> Floats:
        """Effect of each post on the change of the stance (N,)."""
        return self.came + self.left + self.reweighted + self.memory

    @property
    def rest(self) -> float:
        """The part of the stance's change that belongs to no post."""
        return self.begin + self.mixture


def decompose(before: Moment, after: Moment) -> Contributions:
    """Split the change of the market's stance from ``before`` to ``after``, which are of one model and one begin, into
    terms.

    The sum of all terms is ``after.stance - before.stance``. Stances are taken relative to ``before.stance``: a post
    that says what the board said anyway has moved nothing. Posts count with the filters' shares of the later moment,
    the change of the shares with the filters' means of the earlier one. The other way round, posts that make a fast
    filter win would count as if the slow one still led.
    """
    thread_id = np.union1d(before.thread_id, after.thread_id)
    here, there = np.isin(thread_id, before.thread_id), np.isin(thread_id, after.thread_id)

    def of(mine: Floats | Ints, present: Bools) -> Floats:
        column = np.zeros(len(thread_id))
        column[present] = mine
        return column

    posted_at, score = np.zeros(len(thread_id), np.int64), np.zeros(len(thread_id))
    for one, present in ((before, here), (after, there)):
        posted_at[present], score[present] = one.posted_at, one.score
    distance = score - before.stance
    hour_0, hour_1 = of(before.weights(after.share), here), of(after.weights(after.share), there)
    part_0, part_1 = of(before.part, here), of(after.part, there)
    both, new = here & there, there & ~here
    gone = here & (~there | ((posted_at > before.window_from) & (posted_at <= after.window_from)))
    reweighted = np.where(both, hour_0 * (part_1 - part_0) * distance, 0.0)
    faded = np.where(both, (hour_1 - hour_0) * part_1 * distance, 0.0)
    lost = np.where(here & ~there, -hour_0 * part_0 * distance, 0.0)
    begin_change = (after.begin_weight - before.begin_weight) * (before.begin_mean - before.stance)
    return Contributions(
        thread_id=thread_id,
        posted_at=posted_at,
        score=score,
        weight_before=of(before.weights(before.share), here) * part_0,
        weight_after=hour_1 * part_1,
        new=new,
        gone=gone,
        came=np.where(new, hour_1 * part_1 * distance, 0.0),
        left=np.where(gone, reweighted + faded + lost, 0.0),
        reweighted=np.where(gone, 0.0, reweighted),
        memory=np.where(gone, 0.0, faded),
        begin=float(after.share @ begin_change),
        mixture=float((after.share - before.share) @ (before.mean - before.stance)),
        begin_weight=float(before.share @ before.begin_weight),
    )
