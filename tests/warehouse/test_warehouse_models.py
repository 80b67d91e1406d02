"""The registry of models, and what was decided about them."""

from dataclasses import replace
from decimal import Decimal

import duckdb
import pytest
from samples import NOON, minute

from bizcharts_pipeline.warehouse.model_evaluations import (
    Decision,
    EvaluationRow,
    append_decisions,
    decisions,
    gold_scores,
    save_evaluations,
    save_gold_scores,
)
from bizcharts_pipeline.warehouse.models import (
    ModelVersion,
    champion,
    ensure_lexicon_champion,
    learned_at,
    model,
    models,
    promote,
    register_candidate,
    set_figures,
)

Connection = duckdb.DuckDBPyConnection


def row(name: str = "a", **fields: object) -> ModelVersion:
    new = ModelVersion(name, "tfidf", None, "text-1", NOON, None, None, "candidate", f"models/{name}", "ff")
    return replace(new, **fields)


def test_a_row_comes_back_as_it_was_registered(connection: Connection) -> None:
    new = row(base_revision="r", code_version="2", seed=2**40, settings={"c": 5.0, "grams": [1, 2], "none": None},
              seconds=1.5, usd=Decimal("2.123456"), gpu="L4", run_id="it's", accuracy=0.6, macro_f1=0.5)  # fmt: skip
    assert register_candidate(connection, new) == new
    assert register_candidate(connection, replace(new, trained_at=minute(5), run_id="another")) == new
    assert models(connection) == [new]


def test_there_is_one_champion_and_a_refit_retires_what_it_came_from(connection: Connection) -> None:
    ensure_lexicon_champion(connection, "lexicon-1", "abc", NOON)
    register_candidate(connection, row("winner"))
    promote(connection, row("refit", refit_of="winner", status="candidate"))
    statuses = {found.model_version: found.status for found in models(connection)}
    assert statuses == {"lexicon-1": "retired", "winner": "retired", "refit": "champion"}
    set_figures(connection, "winner", 0.7, 0.6)
    assert [found and found.accuracy for found in (model(connection, "winner"), champion(connection))] == [0.7, 0.7]
    promote(connection, row("winner"))
    assert {found.model_version for found in models(connection) if found.status == "champion"} == {"winner"}


def test_a_former_champion_that_is_trained_again_is_no_candidate(connection: Connection) -> None:
    register_candidate(connection, row("a"))
    append_decisions(connection, [Decision("a", None, "gold-1", True, "gate", "better", NOON)])
    promote(connection, row("a"))
    promote(connection, row("b"))  # a person took it down
    assert register_candidate(connection, row("a")).status == "retired"


def test_gold_of_before_the_data_set_must_not_be_in_it(connection: Connection) -> None:
    register_candidate(connection, row("a", dataset_version="text-1", trained_at=minute(9)))
    register_candidate(connection, row("b", dataset_version="unrecorded", trained_at=minute(9)))
    connection.execute(
        f"INSERT INTO dataset_versions VALUES ('text-1', 'text', 'p', 1, 0, '{{}}', TIMESTAMP '{minute(2)}')"
    )
    assert learned_at(connection) == {"a": minute(2), "b": minute(9)}


def test_scores_and_figures_take_the_place_of_earlier_ones(connection: Connection) -> None:
    save_gold_scores(connection, "a", {1: (0.2, 0.3, 0.5), 2: (1.0, 0.0, 0.0)}, NOON)
    save_gold_scores(connection, "a", {2: (0.0, 1.0, 0.0), 3: (0.0, 0.0, 1.0)}, minute(1))
    assert gold_scores(connection) == {"a": {1: (0.2, 0.3, 0.5), 2: (0.0, 1.0, 0.0), 3: (0.0, 0.0, 1.0)}}
    confusion = ((1, 0, 0), (0, 0, 0), (0, 1, 1))
    figures = EvaluationRow("a", "gold-1", 3, 0.5, 0.4, 0.6, 0.5, 0.4, 0.6, 1.0, None, 0.5, 0.1, 1.0, confusion, NOON)
    save_evaluations(connection, [figures])
    save_evaluations(connection, [replace(figures, accuracy=0.55), replace(figures, gold_version="gold-2")])
    found = connection.execute("SELECT gold_version, accuracy, confusion[0][0]::INT FROM model_evaluations ORDER BY 1")
    assert found.fetchall() == [("gold-1", 0.55, 1), ("gold-2", 0.5, 1)]


@pytest.mark.parametrize("changed", [{"reason": "other"}, {"champion": "b"}, {"gold_version": "gold-2"}])
def test_a_decision_is_written_again_only_if_something_of_it_changed(
    connection: Connection, changed: dict[str, str]
) -> None:
    first = Decision("a", "lexicon-1", "gold-1", False, "gate", "worse", NOON, 0.5, 0.4, -0.1, -0.2, 0.0)
    append_decisions(connection, [first])
    append_decisions(connection, [replace(first, decided_at=minute(1), bootstrap_p=0.41)])
    assert decisions(connection) == [first]
    another = replace(first, decided_at=minute(2), **changed)
    append_decisions(connection, [another])
    assert decisions(connection) == [first, another]
