"""Promotes the best candidate that passed the gate, or a person's choice, and records the reason.

A winner of a kind that trains on this machine is refitted on all labels, gold included, and the refit becomes the
champion: more posts make a better model, and gold has served its purpose. The refit keeps the winner's metrics; a refit
that is worse than the winner even on gold, which it was trained on, is discarded.

What the switch changes is measured before it (:mod:`.preview`), which takes minutes, and stored with it. The switch has
the time of its end: no reading of the new model may count as known before it. If the index would move by more than a
setting, the gate's winner waits for a person, unless it replaces the lexicon that comes with the program. Everything
before the promotion can be killed and repeated; the promotion is one transaction.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.clock import timer
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.progress import Track, silently
from bizcharts_pipeline.models.evaluate import EvaluationReport
from bizcharts_pipeline.models.gate import Judgement
from bizcharts_pipeline.models.leaks import exposure
from bizcharts_pipeline.models.metrics import losses
from bizcharts_pipeline.models.preview import points, preview_switch
from bizcharts_pipeline.models.registry import as_row, fit_and_publish, local_scores
from bizcharts_pipeline.models.retention import remove_superseded
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.artifact import read_artifact, training_posts
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import Score
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.training.gold_set import load_gold_set
from bizcharts_pipeline.training.recipe import Recipe
from bizcharts_pipeline.training.text_set import load_text_set
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.model_evaluations import Decision, append_decisions, gold_scores
from bizcharts_pipeline.warehouse.model_previews import HELD, SWITCHED, ModelPreview, append_preview
from bizcharts_pipeline.warehouse.models import ModelVersion, champion, keep_candidate, learned_at, model, promote

GATE = "gate"


class ChampionError(BizchartsError):
    """The champion was not changed."""


def decide(
    database: Database,
    place: Place,
    report: EvaluationReport,
    recipes: Mapping[str, Recipe],
    *,
    parameters: FearGreedSettings,
    confirm_above: float,
    now: datetime,
    run_id: str | None = None,
) -> tuple[Decision, ...]:
    """Promote the best model that won by the evaluation ``report``, if there is one, and return the decision on each
    candidate.

    A switch that would move the index by more than ``confirm_above`` points is left to a person (:func:`override`), and
    the model stays a candidate.

    ``recipes`` are those that train on this machine, by kind: a winner of such a kind is refitted on all labels; a
    winner of another kind, or trained in another way than the recipe does now, is promoted unchanged. Repeated without
    new models or labels, it has no effect.

    Raises:
        ChampionError: the champion changed since the evaluation.
        TrainingError, CorruptModel: the refit failed; the champion is unchanged.
    """
    passed, winner, home = timer(), _best(report.judgements), place.home
    refit = _refit(database, home, winner, recipes, now, run_id) if winner else None
    if winner and refit and not _holds(database, home, winner, refit):
        refit = None
    new = previewed = None
    if winner:
        with database.read() as connection:
            new, present = refit or model(connection, winner), champion(connection)
        assert new
        previewed = preview_switch(database, place, new, parameters, now)
        waits = _waits(previewed, present, confirm_above)
        previewed = replace(previewed, outcome=HELD if waits else SWITCHED, made_at=now + passed())
    decided_at = previewed.made_at if previewed else now
    decisions = tuple(_decision(each, report, winner, refit, previewed, decided_at) for each in report.judgements)
    with database.write() as connection:
        present = champion(connection)
        if (present.model_version if present else None) != report.champion:
            raise ChampionError("The champion changed meanwhile; evaluate again")
        if new and previewed:
            (promote if previewed.outcome == SWITCHED else keep_candidate)(connection, new)
            append_preview(connection, previewed)
        append_decisions(connection, decisions)
    remove_superseded(database, home, now)
    return decisions


def override(
    database: Database,
    place: Place,
    model_version: str,
    *,
    parameters: FearGreedSettings,
    who: str,
    reason: str,
    now: datetime,
    track: Track = silently,
) -> ModelPreview | None:
    """Make a model the champion by a person's decision, recorded with the reason; return what that changes, or ``None``
    if it is the champion already.

    Refused are files that differ from the registered ones, and a model trained on gold that has not won before. A model
    that cannot be compared, or is not better, is accepted.

    Raises:
        ChampionError: there is no such model, no name or reason, or the model was trained on gold.
        CorruptModel: its files differ from the registered ones.
    """
    passed, who, reason, home = timer(), who.strip(), reason.strip(), place.home
    if not who or not reason:
        raise ChampionError("Choosing the champion needs a name and a reason")
    with database.read() as connection:
        row, before, learned = model(connection, model_version), champion(connection), learned_at(connection)
    if row is None:
        raise ChampionError(f"There is no model {model_version}; `model_versions` has the names")
    if before and before.model_version == model_version:
        return None
    gold = load_gold_set(database, home)
    if row.path is None:
        if row.model_version != LexiconScorer().model_version:
            raise ChampionError(f"{model_version} is the lexicon of another version of BizCharts")
    else:
        read_artifact(home / row.path, row.sha256 or "")
        seen = exposure(database, home, home / row.path, learned[model_version], gold)
        if seen.leaked and row.refit_of is None:
            raise ChampionError(
                f"{model_version} was {seen.problem}; so its metrics on {counted(len(seen.leaked), 'gold post')} mean "
                "nothing and it cannot become champion; train it again without them"
            )
    former = before.model_version if before else None
    previewed = preview_switch(database, place, row, parameters, now, track)
    previewed = replace(previewed, outcome=SWITCHED, made_at=now + passed())
    decision = Decision(model_version, former, gold.gold_version, True, who, reason, previewed.made_at)
    with database.write() as connection:
        present = champion(connection)
        if (present.model_version if present else None) != former:
            raise ChampionError("The champion changed meanwhile; look again")
        promote(connection, row)
        append_preview(connection, previewed)
        append_decisions(connection, [decision])
    return previewed


def _best(judgements: Sequence[Judgement]) -> str | None:
    """Return the winner with the largest lead over the champion."""
    winners = [judgement for judgement in judgements if judgement.wins]
    if not winners:
        return None
    return max(winners, key=lambda judgement: next(iter(judgement.comparisons.values())).difference).model_version


def _refit(
    database: Database, home: Path, winner: str, recipes: Mapping[str, Recipe], now: datetime, run_id: str | None
) -> ModelVersion | None:
    """Return the winner refitted on all labels; ``None`` without a matching recipe."""
    with database.read() as connection:
        row = model(connection, winner)
    assert row
    recipe = recipes.get(row.kind)
    if recipe is None or not _trains(recipe, row):
        return None
    started = time.monotonic()
    trained_on = training_posts(home / str(row.path))
    pseudo = {each["thread_id"]: each["label"] for each in trained_on if each.get("pseudo")}  # it was judged with them
    everything = load_text_set(database, home, now, with_gold=True, pseudo=pseudo)
    artifact = fit_and_publish(recipe, everything.examples, everything.dataset_version, home, row.seed or 0)
    fitted = as_row(artifact, now, seconds=time.monotonic() - started, run_id=run_id)
    return replace(fitted, refit_of=winner, accuracy=row.accuracy, macro_f1=row.macro_f1)


def _holds(database: Database, home: Path, winner: str, refit: ModelVersion) -> bool:
    """Whether the refit works, and its log loss on gold, which it was trained on, is at most the winner's."""
    gold = load_gold_set(database, home)
    with database.read() as connection:
        before = gold_scores(connection)[winner]
    after = local_scores(refit, home, gold)
    threads = [thread for thread in gold.truth if thread in before and thread in after]
    truth = [gold.truth[thread] for thread in threads]
    mine, its = ([Score(*said[thread]) for thread in threads] for said in (after, before))
    return bool(threads) and float(losses(mine, truth).mean()) <= float(losses(its, truth).mean())


def _trains(recipe: Recipe, row: ModelVersion) -> bool:
    """Whether ``recipe`` is the one that trained ``row``."""
    mine = recipe.base_model, recipe.base_revision, recipe.code_version, json.dumps(recipe.settings, sort_keys=True)
    return mine == (row.base_model, row.base_revision, row.code_version, json.dumps(row.settings, sort_keys=True))


def _waits(previewed: ModelPreview, present: ModelVersion | None, confirm_above: float) -> bool:
    """Whether a person has to confirm the switch."""
    if previewed.shift is None or present is None or present.shipped:
        return False
    return abs(previewed.shift) > confirm_above


def _decision(
    judgement: Judgement,
    report: EvaluationReport,
    winner: str | None,
    refit: ModelVersion | None,
    previewed: ModelPreview | None,
    decided_at: datetime,
) -> Decision:
    best = judgement.model_version == winner
    promoted = best and previewed is not None and previewed.outcome == SWITCHED
    reason = judgement.reason
    if best and refit:
        reason += f"; refitted on all labels as {refit.model_version}"
    elif promoted:
        reason += "; promoted unchanged"
    elif judgement.wins and not best:
        reason += f"; but {winner} is better still"
    if best and previewed and not promoted:
        reason += f"; waits for a person, as the index would shift by {points(previewed)}"
    found = next(iter(judgement.comparisons.values()), None)
    return Decision(
        model_version=judgement.model_version,
        champion=report.champion,
        gold_version=report.gold_version,
        promoted=promoted,
        decided_by=GATE,
        reason=reason,
        decided_at=decided_at,
        mcnemar_p=found.mcnemar_p if found else None,
        bootstrap_p=found.bootstrap_p if found else None,
        difference=found.difference if found else None,
        difference_lo=found.difference_lo if found else None,
        difference_hi=found.difference_hi if found else None,
    )
