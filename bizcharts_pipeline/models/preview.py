"""Preview of a switch of the champion: the last days' posts, scored by the present champion and by another model.

The champion's scores are those that are stored. A text model scores the same posts here, in memory: killed, it leaves
nothing but texts' vectors. A vision model scores the newest of them on its server, within the budget of a day that
scoring has; its answers and scores are kept (:mod:`bizcharts_pipeline.scoring.candidate`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.progress import Track, silently
from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.shift import DailyPoints, Says, Shift, measure_shift
from bizcharts_pipeline.index.store import load_days, load_posts
from bizcharts_pipeline.index.votes import DAY, Floats, Posts, from_us, to_us
from bizcharts_pipeline.models.registry import as_triple
from bizcharts_pipeline.scoring.candidate import score_beside, vision_candidate
from bizcharts_pipeline.scoring.champion import VISION_KINDS, base_rate, scorer_of
from bizcharts_pipeline.scoring.new_posts import as_post
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.scorer import Score, Scorer
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.model_evaluations import Probabilities
from bizcharts_pipeline.warehouse.model_previews import PREVIEW, ModelPreview, append_preview
from bizcharts_pipeline.warehouse.models import ModelVersion, champion, model
from bizcharts_pipeline.warehouse.previews import Preview
from bizcharts_pipeline.warehouse.rescoring import published_model
from bizcharts_pipeline.warehouse.scores import WaitingPost, posts_of, probabilities_of

DAYS = timedelta(days=14)
MAX_POSTS = 3_000  # the newest of these days
MAX_VISION_POSTS = 2_000  # which a server may be paid for; docs/methodology.md has the error by number of posts
MIN_VISION_SHARE = 0.5  # of them, that the model must have scored
SHOWN_POSTS = 10
SEED = 17  # of the bootstrap


class PreviewError(BizchartsError):
    """The model cannot be previewed; the message has the reason."""


def preview_switch(
    database: Database,
    place: Place,
    candidate: ModelVersion,
    parameters: FearGreedSettings,
    now: datetime,
    track: Track = silently,
) -> ModelPreview:
    """Return what a switch from the champion to ``candidate`` would change at ``now`` (naive UTC); the scores of a
    vision model are stored, and nothing else.

    Where nothing can be measured, the row says why.

    Raises:
        DatabaseError: the database cannot be read or written.
    """
    until = to_us(now)
    with database.read() as connection:
        replaced, published = champion(connection), published_model(connection)
    nothing = ModelPreview(now, candidate.model_version, replaced.model_version if replaced else None, PREVIEW, None)
    if replaced is None:
        return _unmeasured(nothing, "there is no champion yet")
    if replaced.model_version == candidate.model_version:
        return _unmeasured(nothing, "it is the champion")
    present = published or replaced  # the index is the former model's until a champion has scored all posts
    on_server = candidate.kind in VISION_KINDS
    with database.read() as connection:
        generals = sorted(NON_CRYPTO_GENERALS)
        posts = load_posts(connection, present.model_version, to_us(now - DAYS), until, parameters, generals)
        scored = len(posts.thread_id)
        if not scored:
            return _unmeasured(nothing, f"no post of the last {DAYS.days} days has a score of the index's model")
        most = MAX_VISION_POSTS if on_server else MAX_POSTS
        newest = posts.part(np.arange(scored) >= scored - most)
        threads = newest.thread_id.tolist()
        texts, before = posts_of(connection, threads), probabilities_of(connection, present.model_version, threads)
    try:
        if on_server:
            after, prior = _vision_scores(database, place, candidate, texts, now, track)
        else:
            after, prior = _text_scores(place.home, candidate, texts, now)
    except PreviewError as error:
        return _unmeasured(nothing, str(error))
    posts = newest.part(np.isin(newest.thread_id, list(after)))
    threads = posts.thread_id.tolist()
    with database.read() as connection:
        begin = int(posts.posted_at[0]) // DAY * DAY
        earlier = DailyPoints(*load_days(connection, present.model_version, begin, parameters))
    new = _says([after[thread] for thread in threads], prior)
    old = Says(posts.stance, posts.confidence, _prior_of(database, present, place))
    shift = measure_shift(posts, old, new, earlier, until, parameters, SEED)
    measured = _measured(nothing, posts, new.stance, [before[thread] for thread in threads], after, shift)
    return replace(measured, days_posts=scored)


def keep_preview(
    database: Database,
    place: Place,
    model_version: str,
    parameters: FearGreedSettings,
    now: datetime,
    track: Track = silently,
) -> ModelPreview:
    """Preview the switch to a registered model, and store the preview.

    Raises:
        PreviewError: there is no such model.
        DatabaseError: the database cannot be read or written.
    """
    with database.read() as connection:
        found = model(connection, model_version)
    if found is None:
        raise PreviewError(f"There is no model {model_version}; `bizcharts models list` has the names.")
    preview = preview_switch(database, place, found, parameters, now, track)
    with database.write() as connection:
        append_preview(connection, preview)
    return preview


def in_words(preview: ModelPreview) -> str:
    """Return the preview of a switch of the champion as one or two sentences."""
    names = f"{preview.model_version} in place of {preview.champion or 'nothing'}"
    if preview.reason:
        return f"{names}: no preview, because {preview.reason}."
    part = preview.days_posts is not None and preview.posts < preview.days_posts
    of_days = f" (of the {preview.days_posts:,} of the last {DAYS.days} days)" if part else ""
    posts = f"of {counted(preview.posts, 'post')}{of_days} {preview.class_changed:.0%} change their class, "
    moved = f"the mean stance goes from {preview.mean_old:+.3f} to {preview.mean_new:+.3f}"
    if preview.shift is None:
        return f"{names}: {posts}{moved}. There is no index value now that could shift."
    return (
        f"{names}: {posts}{moved}, and the index now from {preview.value_old:.0f} to {preview.value_new:.0f}: "
        f"{points(preview)}."
    )


def changed_most(preview: ModelPreview) -> Preview:
    """Return the posts whose stance a switch of the champion changes most as a table."""
    rows = [(each["thread_id"], each["old"], each["new"]) for each in preview.changed_most]
    return Preview(["thread", "stance by the champion", "by this model"], rows)


def points(preview: ModelPreview) -> str:
    """Return the shift of the index by a switch of the champion, with its interval; ``-`` where there is none."""
    if preview.shift is None:
        return "-"
    return f"{preview.shift:+.1f} points ({preview.shift_lo:+.1f} to {preview.shift_hi:+.1f})"


def _text_scores(
    home: Path, candidate: ModelVersion, texts: Sequence[WaitingPost], now: datetime
) -> tuple[dict[int, Score], Prior]:
    """Return a text model's scores by thread, and where its filters begin.

    Raises:
        PreviewError: it cannot run here.
    """
    try:
        scorer = _scorer(candidate, home)
        scores = scorer.score([as_post(post, now) for post in texts])
        return {post.thread_id: score for post, score in zip(texts, scores, strict=True)}, base_rate(scorer)
    except (BizchartsError, ImportError) as error:
        raise PreviewError(f"it cannot run on this machine: {str(error).rstrip('.')}") from None


def _scorer(model: ModelVersion, home: Path) -> Scorer:
    if model.path is None:
        return LexiconScorer()
    return load_scorer(home / model.path, model.sha256 or "", home)


def _vision_scores(
    database: Database,
    place: Place,
    candidate: ModelVersion,
    texts: Sequence[WaitingPost],
    now: datetime,
    track: Track,
) -> tuple[dict[int, Score], Prior]:
    """Return a vision model's own scores by thread, which are stored, and where its filters begin.

    Raises:
        PreviewError: it cannot be asked, or has scored too few posts.
    """
    try:
        scorer = vision_candidate(database, candidate, place)
    except BizchartsError as error:
        raise PreviewError(str(error).rstrip(".")) from None
    found = score_beside(database, scorer, texts, now, track)
    if len(found) < MIN_VISION_SHARE * len(texts):
        others = "the others wait for their picture or got no usable answer"
        why = scorer.closed.why.rstrip(".") if scorer.closed else others
        raise PreviewError(f"it has scored {len(found):,} of the newest {len(texts):,} posts, fewer than half: {why}")
    return found, base_rate(scorer)


def _prior_of(database: Database, present: ModelVersion, place: Place) -> Prior:
    """Return where the filters of the model that the index is computed with begin."""
    scorer = scorer_of(database, present, place)
    return base_rate(scorer) if scorer else Prior()


def _says(scores: Sequence[Score], prior: Prior) -> Says:
    return Says(np.array([score.score for score in scores]), np.array([score.confidence for score in scores]), prior)


def _unmeasured(nothing: ModelPreview, reason: str) -> ModelPreview:
    return replace(nothing, reason=reason)


def _measured(
    nothing: ModelPreview,
    posts: Posts,
    stance: Floats,
    before: Sequence[Probabilities],
    after: Mapping[int, Score],
    shift: Shift,
) -> ModelPreview:
    threads = posts.thread_id.tolist()
    classes = np.array([as_triple(after[thread]) for thread in threads]).argmax(1)
    changes = np.abs(stance - posts.stance)
    most = np.argsort(-changes, kind="stable")[:SHOWN_POSTS].tolist()
    return replace(
        nothing,
        since=from_us(int(posts.posted_at[0])),
        posts=len(threads),
        mean_old=float(posts.stance.mean()),
        mean_new=float(stance.mean()),
        correlation=_correlation(posts.stance, stance),
        class_changed=float((classes != np.array(before).argmax(1)).mean()),
        stance_old=shift.stances[0],
        stance_new=shift.stances[1],
        value_old=shift.values[0] if shift.values else None,
        value_new=shift.values[1] if shift.values else None,
        shift=shift.points,
        shift_lo=shift.lo,
        shift_hi=shift.hi,
        mapped_days=shift.mapped_days,
        changed_most=tuple(_change(threads[place], posts.stance[place], stance[place]) for place in most),
    )


def _change(thread: int, old: float, new: float) -> dict[str, Any]:
    return {"thread_id": thread, "old": round(float(old), 3), "new": round(float(new), 3)}


def _correlation(old: Floats, new: Floats) -> float | None:
    if not (old.std() > 0 and new.std() > 0):
        return None
    return float(np.corrcoef(old, new)[0, 1])
