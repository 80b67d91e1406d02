"""Undoing an import leaves the labels in force that there would be without it, whatever came before and after."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.labels.ledger import LEDGER, GoldPost, Label, LabelLedger
from bizcharts_pipeline.labels.transfer import import_labels
from bizcharts_pipeline.labels.undoing import undo_import

NOW = datetime(2026, 3, 2)
HEADER = "thread_id,sentiment_rating,labeler_id,labeled_at\n"
# The files overlap, and rate what they share in the same way.
FILES = {"a": (1, 2, 3), "b": (2, 3, 4), "c": (3, 4, 5), "d": (1, 5)}
STEPS = st.one_of(
    st.sampled_from(sorted(FILES)), st.integers(1, 6).map(lambda thread: ("hand", thread)), st.just(("undo last",))
)


def ledger_after(home: Path, steps: list[object]) -> tuple[LabelLedger, list[int | None]]:
    """Return the ledger after ``steps``, and the import that each step made, if it made one."""
    ledger, made = LabelLedger(home / LEDGER), []
    for number, step in enumerate(steps):
        report = None
        if isinstance(step, str):
            file = home / f"{step}.csv"
            rows = [f"{thread},{thread % 3 + 1},ann,2026-03-01T12:00:{thread:02}\n" for thread in FILES[step]]
            file.write_text(HEADER + "".join(rows))
            report = import_labels(file, ledger, home / "aside", now=NOW)
        elif isinstance(step, tuple) and step[0] == "hand":
            ledger.append([Label(step[1], 2, "bob", NOW + timedelta(seconds=number))])
        else:
            ledger.undo("bob", NOW)
        made.append(report.import_id if report else None)
    return ledger, made


def in_force(ledger: LabelLedger) -> set[tuple[object, ...]]:
    labels = ledger.standing()
    found = {(label.thread_id, label.sentiment_rating, label.labeler_id) for label in labels}
    assert len({(label.thread_id, label.labeler_id, label.labeled_at) for label in labels}) == len(labels)
    return found


@pytest.mark.slow
@settings(max_examples=60)
@given(steps=st.lists(STEPS, min_size=1, max_size=6), data=st.data())
def test_the_labels_in_force_are_those_without_the_undone_imports(steps: list[object], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as with_all, tempfile.TemporaryDirectory() as without:
        ledger, made = ledger_after(Path(with_all), steps)
        imports = [number for number, import_id in enumerate(made) if import_id]
        undone = data.draw(st.permutations(imports).flatmap(lambda order: st.integers(0, len(order)).map(
            lambda count: order[:count]
        )))  # fmt: skip
        gold = [post for post in (1, 2, 3) if any(label.thread_id == post for label in ledger.newest())]
        ledger.freeze_gold([GoldPost(post, "2026-03", NOW) for post in gold])
        named: set[int] = set()
        for number in undone:
            report = undo_import(ledger, made[number] or 0, NOW)
            named = {*named, *report.gold_without_label}
        # A file without a new label is no import, so it can neither be undone nor keep a label.
        kept = [
            step
            for number, step in enumerate(steps)
            if number not in undone and not (isinstance(step, str) and made[number] is None)
        ]
        expected, _ = ledger_after(Path(without), kept)
        assert in_force(ledger) == in_force(expected)
        labelled = {label.thread_id for label in ledger.newest()}
        assert named == {post for post in gold if post not in labelled}
