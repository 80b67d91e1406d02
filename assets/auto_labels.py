"""Labels by paid vision models: within a budget, each question paid once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.reporting import Stopwatch, check, table
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.previews import Preview
from resources.auto_labelling import AutoLabelling
from resources.warehouse import Warehouse

if TYPE_CHECKING:
    from bizcharts_pipeline.autolabel.report import Estimate, ProviderReport, Report

POOL = "llm_labels"
CHECK = "models_could_be_asked"


class AutoLabelsConfig(dg.Config):
    """Options of one run."""

    dry_run: bool = Field(False, description="Only estimate the number of waiting posts and their cost; send nothing.")
    retry_batches: bool = Field(
        False, description="Submit batches even if the last ones failed for the same reason (after fixing it)."
    )
    collect_only: bool = Field(False, description="Only collect the answers of batches; send no paid request.")


@dg.asset(
    deps=["thumbnails", "human_labels"],
    group_name="labels",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb", "openai", "gemini"},
    pool=POOL,
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="auto_labels",
            description=(
                "Every paid model is usable: key, model, price, quota and prompt. The check fails with "
                "the reason, but stops no run: earlier labels are kept, and the data set is still built."
            ),
        )
    ],
    description=(
        "Labels by vision models: one row for each post, provider, model, endpoint and prompt version. Labels gold "
        "first, then posts labelled by people, then the rest, within the budget of [auto_labels]; posts with a final "
        "status are skipped, so any run may be killed and repeated. Batches are collected first, then submitted. A "
        "refusal is never 'neutral'. docs/auto-labels.md lists the data sent and the meaning of each status."
    ),
)
def auto_labels(
    context: dg.AssetExecutionContext, config: AutoLabelsConfig, warehouse: Warehouse, auto_labelling: AutoLabelling
) -> dg.MaterializeResult:
    from bizcharts_pipeline.autolabel.errors import AutoLabelError, KeyMissing

    stopwatch = Stopwatch()
    database = warehouse.open_at(utc_now())
    try:
        if config.dry_run:
            with stopwatch("estimate"):
                return _result(context, _estimated(auto_labelling.estimate(database)))
        with stopwatch("ask and write"), auto_labelling.opened(database) as labelling:
            labelling = replace(labelling, retry_batches=config.retry_batches)
            report = labelling.label_posts(ordering=not config.collect_only)
    except KeyMissing as missing:  # users who only label by hand need no key
        return _result(context, {"nothing_asked": str(missing)})
    except AutoLabelError as error:
        return _result(context, {}, [str(error)])
    metadata = {**_metadata(report, database), **stopwatch.metadata()}
    if without_key := auto_labelling.missing_keys():
        metadata["not_asked"] = dg.MetadataValue.text("\n".join(without_key))
    return _result(context, metadata, report.faults)


def _result(
    context: dg.AssetExecutionContext, metadata: Mapping[str, Any], faults: Sequence[str] = ()
) -> dg.MaterializeResult:
    """Return the asset's result. Faults of paid models fail the check, not the run, so that people's labels are still
    used."""
    for fault in faults:
        context.log.error(f"auto_labels: {fault}")
    return dg.MaterializeResult(
        metadata={**metadata, **({"faults": dg.MetadataValue.text("\n".join(faults))} if faults else {})},
        check_results=[check(faults, asset="auto_labels", name=CHECK)],
    )


def _metadata(report: "Report", database: Database) -> dict[str, dg.MetadataValue]:
    from bizcharts_pipeline.autolabel.selection import stored_version
    from bizcharts_pipeline.warehouse.auto_labels import label_counts, models_that_answered, statuses_by_version

    with database.read() as connection:
        everything = statuses_by_version(connection)
        labels, models = {}, {}
        for provider in report.providers:
            version = stored_version(provider.version)
            labels[version.provider] = label_counts(connection, version)
            models[version.provider] = models_that_answered(connection, version)
    asked = sum(provider.posts for provider in report.providers)
    refused = sum(provider.by_status.get("refused", 0) for provider in report.providers)
    rows = [
        (version.provider, version.model, version.endpoint, version.prompt_version, status, count)
        for version, statuses in everything.items()
        for status, count in statuses.items()
    ]
    return {
        "usd_run_known": _usd(report.run.known_usd),
        "usd_run_assumed": _usd(report.run.assumed_usd),
        "usd_month_known": _usd(report.month.known_usd),
        "usd_month_assumed": _usd(report.month.assumed_usd),
        "usd_month_in_batches": _usd(report.month.reserved_usd),
        "requests_known": dg.MetadataValue.int(report.run.known_requests),
        "requests_assumed": dg.MetadataValue.int(report.run.assumed_requests),
        "seconds_p50": dg.MetadataValue.float(report.latency(0.5) or 0.0),
        "seconds_p99": dg.MetadataValue.float(report.latency(0.99) or 0.0),
        "posts": dg.MetadataValue.int(asked),
        "posts_left": dg.MetadataValue.int(report.left),
        "block_rate": dg.MetadataValue.float(refused / asked if asked else 0.0),
        "labels": dg.MetadataValue.json(labels),
        "models_that_answered": dg.MetadataValue.json(models),
        "prompt_sha256": dg.MetadataValue.text(", ".join({p.version.prompt_sha256 for p in report.providers})),
        "run_by_provider": dg.MetadataValue.json({p.version.provider: _of_run(p) for p in report.providers}),
        "all_posts": table(Preview(["provider", "model", "endpoint", "prompt", "status", "posts"], rows)),
    }


def _of_run(provider: "ProviderReport") -> Mapping[str, object]:
    batches = provider.batches
    return {
        "posts": provider.posts,
        **provider.by_status,
        **({"ended": f"{provider.closing.kind}: {provider.closing.why}"} if provider.closing else {}),
        **({"batches submitted": batches.submitted, "collected": batches.collected} if batches else {}),
        **({"batches in progress": batches.running, "problems": batches.problems} if batches else {}),
    }


def _estimated(estimate: "Estimate") -> dict[str, dg.MetadataValue]:
    rows = [
        (
            *(each.version.provider, each.version.model, each.posts, each.with_picture, each.already_paid),
            *(f"{each.likely_usd:.4f}", f"{each.worst_usd:.4f}", f"{each.days:.2f}"),
        )
        for each in estimate.providers
    ]
    columns = ["provider", "model", "posts", "with picture", "already paid", "USD, about", "USD, at most", "days"]
    return {
        "dry_run": dg.MetadataValue.bool(True),
        "next_run": table(Preview(columns, rows)),
        "usd_per_run": _usd(estimate.usd_per_run),
        "usd_left_this_month": _usd(estimate.usd_per_month - estimate.month.usd),
    }


def _usd(amount: Decimal) -> dg.FloatMetadataValue:
    return dg.MetadataValue.float(float(amount))
