"""Evaluates all candidates, the champion and trivial baselines on the same gold posts.

Substitutes:

- The program's lexicon was fitted to labels that may be gold here. It is evaluated as a refit on the candidates'
  training posts.
- A champion that was refitted on all labels after it had won was trained on gold. It is evaluated as the version that
  it was refitted from.
- Gold posts that a model was trained on do not count for it, including posts that became gold after its training.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.agreement import agreements
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.models.gate import Contender, Judgement, common_threads, judge, scores_on
from bizcharts_pipeline.models.leaks import exposure
from bizcharts_pipeline.models.metrics import Figures, measure
from bizcharts_pipeline.models.registry import as_row, as_triple, fit_and_publish, local_scores
from bizcharts_pipeline.models.scale import Scale, measure_scale
from bizcharts_pipeline.sentiment.artifact import CorruptModel, read_artifact
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import Scorer
from bizcharts_pipeline.settings import LabellingSettings, TrainingSettings
from bizcharts_pipeline.training.gold_set import GoldSet, load_gold_set
from bizcharts_pipeline.training.recipe import Recipe, TrainingError
from bizcharts_pipeline.training.text_set import TextSet
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.model_evaluations import (
    EvaluationRow,
    Probabilities,
    compared_models,
    gold_scores,
    promoted_at,
    save_evaluations,
    save_gold_scores,
)
from bizcharts_pipeline.warehouse.models import CANDIDATE, CHAMPION, ModelVersion, learned_at, models, set_figures

HONEST_LEXICON, CLASS_SHARES, UNIFORM = "lexicon without gold", "class shares", "uniform"  # the baselines
CLASSES = 3


@dataclass(frozen=True)
class Line:
    """A row of the table: a model or baseline; ``figures`` are ``None`` if no gold post counts for it."""

    name: str
    role: str  # 'champion', 'candidate', 'baseline' or 'other'
    figures: Figures | None
    scale: Scale | None
    note: str = ""


@dataclass(frozen=True)
class EvaluationReport:
    """Result of an evaluation."""

    gold_version: str
    champion: str | None  # model version; None: no champion yet
    judgements: tuple[Judgement, ...]
    lines: tuple[Line, ...]
    ceiling: tuple[str, ...]  # agreement among people
    notes: tuple[str, ...]

    @property
    def table(self) -> str:
        """The complete report of an evaluation of models as Markdown."""
        head = ["model", "role", "posts", "accuracy", "macro-F1", "recall bear / neutral / bull"]
        head += ["ECE (by chance up to)", "log loss", ""]
        rows = [head, ["---"] * len(head), *(_cells(line) for line in self.lines)]
        reasons = {judgement.model_version: judgement.reason for judgement in self.judgements}
        gate = [f"- {name}: {_plain(reason)}" for name, reason in reasons.items()]
        paragraphs = [
            "\n".join("| " + " | ".join(row) + " |" for row in rows),
            "**Gate**\n\n" + ("\n".join(gate) or "- there is no candidate"),
            "**People**\n\n" + "\n".join(f"- {_plain(line)}" for line in self.ceiling),
            "\n".join(f"- {_plain(note)}" for note in self.notes),
        ]
        return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def evaluate_all(
    database: Database,
    home: Path,
    text_set: TextSet,
    *,
    lexicon: Recipe,
    training: TrainingSettings,
    labelling: LabellingSettings,
    now: datetime,
    others: Mapping[str, Scorer] | None = None,
) -> EvaluationReport:
    """Evaluate and judge every candidate without promoting any; metrics go to ``model_evaluations``.

    Missing gold scores of a model are computed if it runs on this machine. ``lexicon`` is the recipe of the lexicon's
    refit, fitted to ``text_set``. ``others`` are scorers to be listed in the table that are not candidates, by name.
    """
    gold = load_gold_set(database, home)
    with database.read() as connection:
        registered, stored, learned = models(connection), gold_scores(connection), learned_at(connection)
    present = next((row for row in registered if row.status == CHAMPION), None)
    source = _source(present, registered)
    # A refit waits for a person, and the version that it was refitted from is judged.
    candidates = [
        row for row in registered if row.status == CANDIDATE and row.path and row != source and not row.refit_of
    ]
    standing = [
        _contender(row, database, home, gold, stored.get(row.model_version, {}), learned[row.model_version], now)
        for row in (*candidates, *([source] if source else []))
    ]
    rivals = {contender.name: contender for contender in standing}
    baselines, notes = _baselines(text_set, lexicon, gold, training.seed)
    incumbent, note = _incumbent(present, rivals.pop(source.model_version) if source else None, baselines[0], gold)
    with database.read() as connection:
        compared = compared_models(connection, present.model_version if present else None, gold.gold_version)
        promoted = promoted_at(connection, present) if present else None
    judgements = judge(
        list(rivals.values()),
        incumbent,
        baselines,
        gold,
        level=training.significance,
        seed=training.seed,
        earlier=len(compared - rivals.keys()),
        old={thread for thread, frozen_at in gold.frozen_at.items() if promoted and frozen_at <= promoted},
    )
    other = [Contender(name, _scores(scorer, gold)) for name, scorer in (others or {}).items()]
    roles = [(incumbent, "champion"), *((rival, "candidate") for rival in rivals.values())]
    roles += [(one, "baseline") for one in baselines if one is not incumbent] + [(one, "other") for one in other]
    lines = tuple(Line(one.name, role, *_measured(one, gold, training.seed), _note(one, gold)) for one, role in roles)
    _save(database, lines, gold, present, incumbent, now)
    if gold.without_label:
        notes.append(
            f"{counted(gold.without_label, 'gold post counts', 'gold posts count')} for no model: "
            f"unknown here, flagged, or people disagree"
        )
    return EvaluationReport(
        gold.gold_version,
        present.model_version if present else None,
        judgements,
        lines,
        _ceiling(home, labelling),
        tuple(filter(None, [note, *notes])),
    )


def _source(present: ModelVersion | None, registered: Sequence[ModelVersion]) -> ModelVersion | None:
    """Return the model whose gold scores stand for the champion; ``None`` for the lexicon's refit."""
    if present is None or present.path is None:
        return None
    if present.refit_of is None:
        return present
    return next((row for row in registered if row.model_version == present.refit_of and row.path), None)


def _contender(
    row: ModelVersion,
    database: Database,
    home: Path,
    gold: GoldSet,
    stored: Mapping[int, Probabilities],
    learned: datetime | None,
    now: datetime,
) -> Contender:
    """Return a model with its gold scores, and the reason why it must not be promoted, if any."""
    assert row.path
    folder = home / row.path
    scores = {thread: stored[thread] for thread in gold.truth if thread in stored}
    try:
        read_artifact(folder, row.sha256 or "")
        if len(scores) < len(gold.truth) and (fresh := local_scores(row, home, gold)):
            with database.write() as connection:
                save_gold_scores(connection, row.model_version, fresh, now)
            scores = fresh
    except CorruptModel as error:
        return Contender(row.model_version, scores, problem=f"corrupt: {error}")
    seen = exposure(database, home, folder, learned, gold)
    return Contender(row.model_version, scores, seen.seen, seen.problem)


def _baselines(text_set: TextSet, lexicon: Recipe, gold: GoldSet, seed: int) -> tuple[list[Contender], list[str]]:
    """Return the lexicon's refit, the class shares, and the uniform distribution."""
    notes = []
    try:
        with tempfile.TemporaryDirectory() as name:  # it is not a candidate, so its files are not kept
            elsewhere = Path(name)
            artifact = fit_and_publish(lexicon, text_set.examples, text_set.dataset_version, elsewhere, seed)
            scores = local_scores(as_row(artifact, datetime.min), elsewhere, gold)
    except TrainingError as error:
        notes.append(f"the lexicon could not be refitted without gold, so its metrics may be too good: {error}")
        scores = _scores(LexiconScorer(), gold)
    counts = Counter(example.label for example in text_set.examples)
    # Add-one smoothing: a class without labels is not impossible.
    shares = [(counts[k] + 1) / (counts.total() + CLASSES) for k in range(CLASSES)]
    third = 1 / CLASSES
    return [
        Contender(HONEST_LEXICON, scores),
        Contender(CLASS_SHARES, dict.fromkeys(gold.truth, (shares[0], shares[1], shares[2]))),
        Contender(UNIFORM, dict.fromkeys(gold.truth, (third, third, third))),
    ], notes


def _incumbent(
    present: ModelVersion | None, source: Contender | None, honest: Contender, gold: GoldSet
) -> tuple[Contender, str]:
    """Return the contender to be beaten, and a note on its substitute."""
    if present is None:
        return honest, ""
    if present.shipped:
        return (
            honest,
            f"{present.model_version} is evaluated as a refit on the candidates' posts: {honest.name}",
        )
    if source is None or not common_threads([source], gold):
        return honest, f"no gold post counts for the champion {present.model_version}: the lexicon is used in its place"
    if present.refit_of:
        return source, f"{present.model_version} was trained on gold; it is evaluated as {source.name}, which won"
    return source, ""


def _scores(scorer: Scorer, gold: GoldSet) -> dict[int, Probabilities]:
    scores = scorer.score([example.post for example in gold.examples])
    return {example.thread_id: as_triple(score) for example, score in zip(gold.examples, scores, strict=True)}


def _measured(contender: Contender, gold: GoldSet, seed: int) -> tuple[Figures | None, Scale | None]:
    threads = common_threads([contender], gold)
    if not threads:
        return None, None
    truth, groups = ([of[thread] for thread in threads] for of in (gold.truth, gold.groups))
    scores = scores_on(contender, threads)
    return measure(scores, truth, groups, seed), measure_scale(scores, truth, groups, seed)


def _note(contender: Contender, gold: GoldSet) -> str:
    if contender.name == UNIFORM:
        return "its ties count as bearish"
    notes = (
        [
            counted(
                len(contender.seen),
                "gold post it was trained on does not count",
                "gold posts it was trained on do not count",
            )
        ]
        if contender.seen
        else []
    )
    if unanswered := gold.truth.keys() - contender.scores.keys() - contender.seen:
        notes.append(
            f"{len(unanswered)} gold posts without its score do not count: they have neither text nor a usable "
            "picture, or were frozen later"
        )
    return "; ".join(notes)


def _save(
    database: Database,
    lines: Sequence[Line],
    gold: GoldSet,
    present: ModelVersion | None,
    incumbent: Contender,
    now: datetime,
) -> None:
    rows = [
        _row(line.name, line.figures, line.scale, gold.gold_version, now)
        for line in lines
        if line.figures and line.scale
    ]
    if not rows:
        return
    with database.write() as connection:
        save_evaluations(connection, rows)
        for row in rows:
            set_figures(connection, row.model_version, row.accuracy, row.macro_f1)
            if present and present.shipped and row.model_version == incumbent.name:
                set_figures(connection, present.model_version, row.accuracy, row.macro_f1)


def _row(name: str, figures: Figures, scale: Scale, gold_version: str, now: datetime) -> EvaluationRow:
    bearish, neutral, bullish = figures.recall
    return EvaluationRow(
        model_version=name,
        gold_version=gold_version,
        n=figures.n,
        accuracy=figures.accuracy.value,
        accuracy_lo=figures.accuracy.lo,
        accuracy_hi=figures.accuracy.hi,
        macro_f1=figures.macro_f1.value,
        macro_f1_lo=figures.macro_f1.lo,
        macro_f1_hi=figures.macro_f1.hi,
        recall_bearish=bearish,
        recall_neutral=neutral,
        recall_bullish=bullish,
        ece=figures.ece,
        ece_if_calibrated=figures.ece_if_calibrated,
        log_loss=figures.log_loss,
        confusion=figures.confusion,
        evaluated_at=now,
        net_offset=scale.offset,
        net_offset_variance=scale.offset_variance,
        slope=scale.slope,
        slope_lo=scale.slope_lo,
        slope_hi=scale.slope_hi,
        response=scale.response,
        response_covariance=scale.response_covariance,
    )


def _ceiling(home: Path, labelling: LabellingSettings) -> tuple[str, ...]:
    """Return the agreement among people, an upper limit for the measurable quality of a model."""
    standing = LabelLedger(home / LEDGER).standing()
    found = agreements(standing, timedelta(days=labelling.relabel_after_days))
    if not found:
        return ("unknown: no post was labelled by two people, or twice by one",)
    return tuple(
        f"{one.first} with {'themselves' if one.first == one.second else one.second}: the same {one.raw} of "
        f"{one.items} posts, kappa {one.kappa}"
        for one in found
    )


def _cells(line: Line) -> list[str]:
    if line.figures is None:
        return [_plain(line.name), line.role, "0", *[""] * 5, line.note]
    found = line.figures
    recall = " / ".join("-" if value is None else f"{value:.2f}" for value in found.recall)
    return [
        *(_plain(line.name), line.role, str(found.n), str(found.accuracy), str(found.macro_f1), recall),
        *(f"{found.ece:.3f} ({found.ece_if_calibrated:.3f})", f"{found.log_loss:.3f}", line.note),
    ]


def _plain(text: str) -> str:
    """Return ``text`` without characters that would end a cell or a line in Markdown."""
    return text.replace("|", "¦").replace("\n", " ")
