"""Features of the stored pictures."""

import dagster as dg

from assets.reporting import Stopwatch
from bizcharts_pipeline.core.clock import utc_now
from resources.images import Images
from resources.warehouse import Warehouse

NAMED_PROBLEMS = 50


@dg.asset(
    deps=["thumbnails"],
    group_name="sources",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "What models read of a thumbnail: its text (with `make install-ocr`), the last hidden layer of the packaged "
        "network, colours, perceptual hash and kind. Each content is read once, in a restricted process; at most "
        "`[images] per_run` in a run."
    ),
)
def image_features(warehouse: Warehouse, images: Images) -> dg.MaterializeResult:
    from bizcharts_pipeline.images.features import compute_features  # which no minutely run needs

    stopwatch = Stopwatch()
    limits = images.limits()
    with stopwatch("compute"):
        report = compute_features(
            warehouse.open_at(utc_now()),
            images.home_path(),
            max_pixels=limits.max_pixels,
            limit=limits.per_run,
            now=utc_now(),
        )
    return dg.MaterializeResult(
        metadata={
            **{f"pictures: {kind}": count for kind, count in report.counts.items()},
            "pictures_with_text": report.with_text,
            "coins_named_by_pictures_alone": report.coins,
            "extractor": report.extractor,
            "more_waiting": report.more_waiting,
            **({"text_is_not_read": report.ocr_problem} if report.ocr_problem else {}),
            **({"problems": "\n".join(report.problems[:NAMED_PROBLEMS])} if report.problems else {}),
            "all_pictures_by_kind": dict(report.held),
            **stopwatch.metadata(),
        }
    )
