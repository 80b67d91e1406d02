"""The jobs that collect beside the live board: pictures, prices, the reference index."""

import dagster as dg

from assets.prices import coin_prices, reference_index
from assets.thumbnails import thumbnails
from resources.console_log import CONSOLE

THUMBNAILS_MAX_RUNTIME_SECONDS = 1800
PRICES_MAX_RUNTIME_SECONDS = 600

# Named apart from their assets: Dagster allows a name one graph only.
fetch_thumbnails = dg.define_asset_job(
    "fetch_thumbnails",
    selection=dg.AssetSelection.assets(thumbnails),
    description="Fetch the pictures that wait, and purge those whose posts are gone.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(THUMBNAILS_MAX_RUNTIME_SECONDS)},
)

fetch_prices = dg.define_asset_job(
    "fetch_prices",
    selection=dg.AssetSelection.assets(coin_prices),
    description="Ask the first price source that has budget left.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(PRICES_MAX_RUNTIME_SECONDS)},
)

fetch_reference_index = dg.define_asset_job(
    "fetch_reference_index",
    selection=dg.AssetSelection.assets(reference_index),
    description="The newest days of alternative.me's index, for comparison.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(PRICES_MAX_RUNTIME_SECONDS)},
)
