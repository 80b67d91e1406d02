"""Training data set of the vision-language models."""

import dagster as dg

from assets.reporting import Stopwatch, by_thread
from bizcharts_pipeline.core.clock import utc_now
from resources.labelling import Labelling
from resources.warehouse import Warehouse


@dg.asset(
    deps=["human_labels", "auto_labels", "thumbnails"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "huggingface"},
    description=(
        "Labelled posts in the ShareGPT format of TRL and LLaMA-Factory: train.json, validation.json, the pictures and "
        "a datasheet, in a folder named by its content hash. It uses labels of people and of trusted models, never the "
        "gold split or similar posts. The same content is the same version. Labelled posts without a stored picture "
        "are left out; if all are, there is no data set: `images.archive = true` in settings.toml fetches the "
        "thumbnails of archived posts, `labelling.text_only = true` includes posts without a picture."
    ),
)
def sharegpt_dataset(
    context: dg.AssetExecutionContext, warehouse: Warehouse, labelling: Labelling
) -> dg.MaterializeResult:
    from bizcharts_pipeline.labels.pictures import left_out_for_pictures
    from bizcharts_pipeline.training.dataset import build_dataset

    stopwatch = Stopwatch()
    now = utc_now()
    with stopwatch("choose and write"):
        report = build_dataset(warehouse.open_at(now), labelling.home_path(), labelling.settings(), now)
    version = report.version
    rows = version.train_rows + version.validation_rows if version else 0
    missing_pictures = left_out_for_pictures(report.left_out, rows)
    if missing_pictures:
        context.log.warning(missing_pictures)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version.dataset_version if version else "none"),
        metadata={
            "rows": rows,
            **({"missing_pictures": missing_pictures} if missing_pictures else {}),
            "new_version": report.new,
            "balance": dg.MetadataValue.md(report.balance),
            "left_out": dict(report.left_out),
            **({"unusable_images": by_thread(report.unusable_images)} if report.unusable_images else {}),
            "datasheet": dg.MetadataValue.md(report.datasheet),
            **({"path": dg.MetadataValue.path(str(labelling.home_path() / version.path))} if version else {}),
            **({"versions_removed": list(report.removed)} if report.removed else {}),
            **stopwatch.metadata(),
        },
    )
