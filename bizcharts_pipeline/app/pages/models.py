"""Models: which one scores the posts, how good each is, whether it has gone stale, and why which was promoted."""

from datetime import datetime
from typing import Any

import streamlit as st

from bizcharts_pipeline.app.components.frame import explained, foot, open_view
from bizcharts_pipeline.app.queries.models import all_models
from bizcharts_pipeline.app.theme import DASH, index_value, interval, moment, share, stance
from bizcharts_pipeline.app.untrusted import as_markdown
from bizcharts_pipeline.drift.words import as_record, rising_terms, verdict_sentence
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.models.preview import changed_most, in_words, points
from bizcharts_pipeline.warehouse.drift_reports import VERDICT, DriftRow
from bizcharts_pipeline.warehouse.model_evaluations import Decision, EvaluationRow
from bizcharts_pipeline.warehouse.model_previews import ModelPreview, ModelSwitch, held
from bizcharts_pipeline.warehouse.models import CHAMPION, ModelVersion

SHORT_HASH = 12


def page() -> None:
    """Draw the app's page Models."""
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
    if waiting := held(found.previews):
        command = f"bizcharts models promote {as_markdown(waiting.model_version)} --reason …"
        st.warning(f"A better model waits for you, because the index would shift. To switch: {command}")
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
    _switches(found.previews, found.switches)
    _drift(found.drift)
    st.header("Decisions of the gate", anchor=False)
    if found.decisions:
        st.dataframe([_decision(each) for each in found.decisions], hide_index=True, alt="Decisions, the newest first")
    else:
        st.write("No model was weighed against the champion yet.")
    foot()


def version_record(model: ModelVersion) -> dict[str, Any]:
    """Return a model's version as a row of the table on the app's page Models; a table's cells are drawn as plain
    text."""
    return {
        "version": model.model_version,
        "kind": model.kind,
        "status": model.status,
        "accuracy": share(model.accuracy),
        "macro-F1": share(model.macro_f1),
        "trained": moment(model.trained_at),
        "data set": (model.dataset_version or DASH)[:SHORT_HASH],
        "code": (model.code_version or DASH)[:SHORT_HASH],
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
        "by chance up to": DASH if row.ece_if_calibrated is None else share(row.ece_if_calibrated),
        "measured": moment(row.evaluated_at),
        "gold": row.gold_version[:SHORT_HASH],
    }


def _switches(rows: tuple[ModelPreview, ...], made: tuple[ModelSwitch, ...]) -> None:
    """Draw what switches of the model change, or have changed: the newest in words, and tables."""
    st.header("Switches of the model", anchor=False)
    if not rows:
        st.write("No switch was previewed yet: `bizcharts models preview VERSION` shows what a model would change.")
        return
    st.markdown(as_markdown(in_words(rows[0])))
    st.caption(
        "Both models score the newest posts of the last 14 days. docs/methodology.md says how the shift is found."
    )
    published = {each.switched_at: each.published_at for each in made}
    records = [preview_record(row, published.get(row.made_at)) for row in rows]
    st.dataframe(records, hide_index=True, alt="Previews and switches of the model, the newest first")
    if rows[0].changed_most:
        with st.expander("Posts whose stance changes most"):
            most = changed_most(rows[0])
            st.dataframe([dict(zip(most.columns, row, strict=True)) for row in most.rows], hide_index=True)


def preview_record(row: ModelPreview, published_at: datetime | None) -> dict[str, Any]:
    """Return a model's preview as a row of the table on the app's page Models."""
    return {
        "made": moment(row.made_at),
        "model": row.model_version,
        "in place of": row.champion or DASH,
        "outcome": row.outcome,
        "index shift": points(row),
        "index": DASH if row.shift is None else f"{index_value(row.value_old)} → {index_value(row.value_new)}",
        "stance": f"{stance(row.stance_old)} → {stance(row.stance_new)}",
        "posts": row.posts,
        "other class": share(row.class_changed),
        "index of its own since": moment(published_at) if published_at else DASH,
        "not measured": row.reason or "",
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
        st.write("There is no drift report yet: the daily job `maintenance` makes one, once a model has scored posts.")
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
