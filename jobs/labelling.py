"""Job that updates the labels: people's, then models' within their budget, then the queue of posts to label next."""

import dagster as dg

from assets.auto_labels import auto_labels
from assets.human_labels import human_labels
from assets.label_queue import label_queue
from assets.sharegpt_dataset import sharegpt_dataset
from resources.console_log import CONSOLE

LABELLING_MAX_RUNTIME_SECONDS = 6 * 3600
COLLECTION_MAX_RUNTIME_SECONDS = 3600

labelling = dg.define_asset_job(
    "labelling",
    selection=dg.AssetSelection.assets(human_labels, auto_labels, label_queue, sharegpt_dataset),
    description=(
        "Update people's labels and gold, label posts with paid models up to the budget, build the data set of trusted "
        "labels, and the queue of posts to label next."
    ),
    config=CONSOLE,
    tags={"dagster/max_runtime": str(LABELLING_MAX_RUNTIME_SECONDS)},
)

collect_auto_labels = dg.define_asset_job(
    "collect_auto_labels",
    selection=dg.AssetSelection.assets(auto_labels),
    description="Collect the answers of batches; send no paid request.",
    config={**CONSOLE, "ops": {"auto_labels": {"config": {"collect_only": True}}}},
    tags={"dagster/max_runtime": str(COLLECTION_MAX_RUNTIME_SECONDS)},
)
