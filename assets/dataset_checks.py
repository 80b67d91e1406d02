"""Checks of the newest data set's files, before anything is trained on it."""

import dagster as dg

from assets.reporting import check
from resources.labelling import Labelling
from resources.warehouse import Warehouse


@dg.asset_check(
    asset="sharegpt_dataset",
    blocking=True,
    description="No row is a gold post or similar to one, by number, text or picture; this reads the files themselves.",
)
def gold_is_absent(warehouse: Warehouse, labelling: Labelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.training.leaks import gold_leaks
    from bizcharts_pipeline.warehouse.datasets import current_dataset

    database, home = warehouse.open(), labelling.home_path()
    with database.read() as connection:
        version = current_dataset(connection)
    return check(gold_leaks(database, home, home / version.path) if version else [])


@dg.asset_check(
    asset="sharegpt_dataset",
    blocking=True,
    description=(
        "The files are unchanged, TRL and LLaMA-Factory accept each row, and the training script's own check, which "
        "decodes the images, refuses none."
    ),
)
def rows_are_readable(warehouse: Warehouse, labelling: Labelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.training.sharegpt import format_problems
    from bizcharts_pipeline.warehouse.datasets import current_dataset

    with warehouse.open().read() as connection:
        version = current_dataset(connection)
    return check(format_problems(labelling.home_path() / version.path) if version else [])


@dg.asset_check(asset="sharegpt_dataset", description="Each class has at least one row in ten.")
def classes_are_balanced(warehouse: Warehouse) -> dg.AssetCheckResult:
    from bizcharts_pipeline.warehouse.datasets import current_dataset, rare_classes

    with warehouse.open().read() as connection:
        version = current_dataset(connection)
    return check(rare_classes(version) if version else [], severity=dg.AssetCheckSeverity.WARN)
