"""Jobs that maintain the index: every minute for new posts, every hour for imported ones."""

import dagster as dg

from assets.catalog_snapshot import catalog_snapshot
from assets.checks import no_duplicate_threads, schema
from assets.indexes import indexes
from assets.scored_posts import scored_posts
from bizcharts_pipeline.live import POSTS_PER_TICK
from resources.console_log import CONSOLE

LIVE_MAX_RUNTIME_SECONDS = 600
HISTORY_MAX_RUNTIME_SECONDS = 3600

live = dg.define_asset_job(
    "live",
    selection=(
        dg.AssetSelection.assets(catalog_snapshot, scored_posts, indexes).without_checks()
        | dg.AssetSelection.checks(*catalog_snapshot.check_keys)
    ),
    description="One tick: poll the catalogue, score new posts, update the indexes.",
    config={
        **CONSOLE,
        "ops": {
            "scored_posts": {"config": {"limit": POSTS_PER_TICK}},
            "indexes": {"config": {"scope": "recent"}},
        },
    },
    tags={"dagster/max_runtime": str(LIVE_MAX_RUNTIME_SECONDS)},
)

history = dg.define_asset_job(
    "history",
    selection=dg.AssetSelection.assets(scored_posts, indexes) | dg.AssetSelection.checks(schema, no_duplicate_threads),
    description="Score all unscored posts and update every past bucket, as new vintages.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(HISTORY_MAX_RUNTIME_SECONDS)},
)
