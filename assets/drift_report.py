"""Whether the model that scores the board has gone stale."""

from pathlib import Path

import dagster as dg

from assets.reporting import Stopwatch, table
from bizcharts_pipeline.core.clock import utc_now
from resources.fear_greed import FearGreed
from resources.warehouse import Warehouse


@dg.asset(
    group_name="training",
    deps=["scored_posts", "coin_prices", "human_labels"],
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "Compares the last 7 days with the weeks before: class mix less what prices explain, vocabulary, unknown "
        "words, the accuracy and confidence that the champion's probabilities promise, and its accuracy on posts "
        "labelled at random. One report a day is stored in `drift_reports` and not changed later. An alarm needs worse "
        "accuracy on labels, or two other measures on three days running; a false one is expected at most once in ten "
        "months. docs/methodology.md has the rules."
    ),
)
def drift_report(warehouse: Warehouse, fear_greed: FearGreed) -> dg.MaterializeResult:
    from bizcharts_pipeline.drift.run import report_drift
    from bizcharts_pipeline.drift.words import as_preview, rising_terms, sentences, verdict_sentence

    stopwatch, now = Stopwatch(), utc_now()
    with stopwatch("measure"):
        report = report_drift(
            warehouse.open_at(now), Path(warehouse.home), now, spam_cut=fear_greed.parameters().spam_cut
        )
    verdict = next((row for row in report.rows if row.value is not None and "by" in row.details), None)
    return dg.MaterializeResult(
        metadata={
            "verdict": verdict_sentence(report.rows),
            "in words": dg.MetadataValue.md("\n".join(f"- {each}" for each in sentences(report.rows))),
            "measures": table(as_preview(report.rows)),
            "rising_terms": table(rising_terms(report.rows)),
            "false_alarms_a_month": float(verdict.details["false_alarms_a_month"]) if verdict else 0.0,
            "model": report.model_version or "none yet",
            "days_reported": report.made,
            **stopwatch.metadata(),
        }
    )


@dg.asset_check(
    asset="drift_report",
    description="There is no drift alarm. docs/operating.md says what to do about one; an alarm stops no run.",
)
def model_is_not_stale(warehouse: Warehouse) -> dg.AssetCheckResult:
    from bizcharts_pipeline.drift.words import verdict_sentence
    from bizcharts_pipeline.warehouse.drift_reports import standing_alarm

    with warehouse.open().read() as connection:
        alarm = standing_alarm(connection)
    return dg.AssetCheckResult(
        passed=alarm is None,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"verdict": verdict_sentence([alarm]) if alarm else "no alarm stands"},
    )
