"""Models: which one scores the posts, how good each is, whether it has gone stale, and why which was promoted."""

from typing import Any

import streamlit as st

from bizcharts_pipeline.app.components.frame import explained, foot, open_view
from bizcharts_pipeline.app.queries.models import all_models
from bizcharts_pipeline.app.theme import DASH, interval, moment, share
from bizcharts_pipeline.app.untrusted import as_markdown
from bizcharts_pipeline.drift.words import as_record, rising_terms, verdict_sentence
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.warehouse.drift_reports import VERDICT, DriftRow
from bizcharts_pipeline.warehouse.model_evaluations import Decision, EvaluationRow
from bizcharts_pipeline.warehouse.models import CHAMPION, ModelVersion

SHORT_HASH = 12


def page() -> None:
    """Draw the page."""
    view = open_view("Models")
    with explained():
        found = all_models(view.database, view.as_of)
    if not found.versions:
        st.write("No model is registered yet. `bizcharts poll --once` registers the lexicon.")
        foot()
        return
    if view.as_of:
        st.caption("The status of a model is that of now.")
    champion = next((each for each in found.versions if each.status == CHAMPION), None)
    if champion:
        named = f"**{as_markdown(champion.model_version)}** ({as_markdown(champion.kind)})"
        st.markdown(
            f"The posts are scored by {named}. A model takes over when it is better on posts that no training has "
            "seen. docs/methodology.md has the test."
        )
    st.header("Versions", anchor=False)
    st.dataframe(
        [version_record(each) for each in found.versions], hide_index=True, alt="Model versions, the newest first"
    )
    st.header("Figures on gold", anchor=False)
    if found.evaluations:
        st.dataframe(
            [_figures(each) for each in found.evaluations], hide_index=True, alt="Figures of each model on gold"
        )
        _confusion(found.evaluations)
    else:
        st.write("No model was measured yet: `make label` some posts, then run `bizcharts run training`.")
    _drift(found.drift)
    st.header("Decisions of the gate", anchor=False)
    if found.decisions:
        st.dataframe([_decision(each) for each in found.decisions], hide_index=True, alt="Decisions, the newest first")
    else:
        st.write("No model was weighed against the champion yet.")
    foot()


def version_record(model: ModelVersion) -> dict[str, Any]:
    """Return a version as a row of the table; a table's cells are drawn as plain text."""
    return {
        "version": model.model_version,
        "kind": model.kind,
        "status": model.status,
        "accuracy": share(model.accuracy),
        "macro-F1": share(model.macro_f1),
        "trained": moment(model.trained_at),
        "data set": (model.dataset_version or DASH)[:SHORT_HASH],
        "commit": (model.code_version or DASH)[:SHORT_HASH],
        "base": model.base_model or DASH,
        "refit of": model.refit_of or DASH,
        "USD": DASH if model.usd is None else f"{model.usd:.2f}",
    }


def _figures(row: EvaluationRow) -> dict[str, Any]:
    return {
        "model or baseline": row.model_version,
        "posts": row.n,
        "accuracy": share(row.accuracy),
        "95 %": interval(share(row.accuracy_lo), share(row.accuracy_hi)),
        "macro-F1": share(row.macro_f1),
        "95 % of it": interval(share(row.macro_f1_lo), share(row.macro_f1_hi)),
        "log loss": f"{row.log_loss:.3f}",
        "calibration error": share(row.ece),
        "measured": moment(row.evaluated_at),
        "gold": row.gold_version[:SHORT_HASH],
    }


def _confusion(rows: tuple[EvaluationRow, ...]) -> None:
    with st.expander("Confusion matrix"):
        names = [f"{row.model_version} on {row.gold_version[:SHORT_HASH]}" for row in rows]
        place = st.selectbox("Model", range(len(rows)), format_func=lambda place: as_markdown(names[place]))
        st.caption("Rows: what people say. Columns: what the model says.")
        st.dataframe(
            [
                {"people say": truth, **dict(zip(STANCES, counts, strict=False))}
                for truth, counts in zip(STANCES, rows[place].confusion, strict=False)
            ],
            hide_index=True,
            width="content",
        )


def _drift(rows: tuple[DriftRow, ...]) -> None:
    """Draw whether the champion has gone stale: words, a table, and the terms that rose."""
    st.header("Drift", anchor=False)
    if not rows:
        st.write("There is no drift report yet: the daily job `maintenance` makes one (`bizcharts run maintenance`).")
        return
    st.markdown(as_markdown(verdict_sentence(rows)))
    st.caption(
        "Whether the last 7 days still look like those that the model reads well. docs/methodology.md has the rules, "
        "docs/operating.md what to do on an alarm."
    )
    records = [as_record(row) for row in rows if row.measure != VERDICT]
    st.dataframe(records, hide_index=True, alt="Measures of drift, with what was expected and the limits")
    terms = rising_terms(rows)
    if terms.rows:
        with st.expander("Words that rose, candidates for the lexicon"):
            st.dataframe([dict(zip(terms.columns, row, strict=True)) for row in terms.rows], hide_index=True)


def _decision(decision: Decision) -> dict[str, Any]:
    difference = decision.difference
    return {
        "decided": moment(decision.decided_at),
        "model": decision.model_version,
        "against": decision.champion or DASH,
        "promoted": "yes" if decision.promoted else "no",
        "by": decision.decided_by,
        "log loss lower by": DASH if difference is None else f"{difference:.3f}",
        "p (bootstrap)": DASH if decision.bootstrap_p is None else f"{decision.bootstrap_p:.3f}",
        "p (McNemar)": DASH if decision.mcnemar_p is None else f"{decision.mcnemar_p:.3f}",
        "reason": decision.reason,
    }
