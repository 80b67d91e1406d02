"""The estimate judges no model by what it has seen."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from training.made_up_posts import made_up

from bizcharts_pipeline.models.estimate import figures, folds, last_month, read_examples
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.training.recipes.lexicon import LexiconRecipe
from bizcharts_pipeline.training.recipes.tfidf import TfidfRecipe

LABELS = Path("labels") / "biz_op_labels_2025_part_a.jsonl"


def test_the_figures_are_of_every_post_once() -> None:
    examples = made_up(90)
    splits = list(folds(examples, 1))
    assert sorted(place for _, asked in splits for place in asked) == list(range(90))
    for known, asked in splits:
        assert {examples[i].group for i in known}.isdisjoint(examples[i].group for i in asked)
    assert figures(LexiconRecipe(), examples, splits[:2], 1).accuracy > 0.75


def test_the_last_month_teaches_nothing_and_neither_do_its_copies() -> None:
    months = [datetime(2025, 10, 1), datetime(2025, 12, 1), None, datetime(2025, 10, 2)]
    examples = [
        replace(example, posted_at=when, group=group)
        for example, when, group in zip(made_up(4), months, (1, 2, 3, 2), strict=True)
    ]
    assert last_month(examples) == ([0], [1])


def test_labels_are_read_with_their_copies_told_and_the_skipped_left_out(tmp_path: Path) -> None:
    text = "we are so back frens, this one is going to the moon before christmas"
    rows = [
        {"thread_id": 1, "posted_at": "2025-10-08T10:00:00Z", "sentiment_rating": 3, "subject": None},
        {"thread_id": 2, "posted_at": None, "sentiment_rating": None, "subject": "skipped", "skipped": True},
        {"thread_id": 3, "posted_at": "2025-12-16T00:00:00", "sentiment_rating": 1, "subject": None},
    ]
    file = tmp_path / "labels.jsonl"
    file.write_text("\n".join(json.dumps(row | {"text_snapshot": text, "image_url_snapshot": None}) for row in rows))
    first, second = read_examples(file)
    assert (first.label, second.label, first.group == second.group) == (2, 0, True)
    assert (first.posted_at, first.post.subject) == (datetime(2025, 10, 8, 10), "")


@pytest.mark.acceptance
@pytest.mark.timeout(1200)
def test_the_ensemble_reads_unseen_posts_of_the_board(shared_data: Path) -> None:
    examples = read_examples(shared_data / LABELS)
    splits = list(folds(examples, 0))
    ensemble, plain = (figures(recipe, examples, splits, 0) for recipe in (EnsembleRecipe(), TfidfRecipe()))
    assert ensemble.accuracy > max(0.62, plain.accuracy)
    assert ensemble.macro_f1 > max(0.58, plain.macro_f1)
    assert ensemble.log_loss < min(0.80, plain.log_loss)
    assert ensemble.ece < 0.08
