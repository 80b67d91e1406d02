"""Jobs that collect pictures, prices and the reference index."""

import dagster as dg

from assets.image_features import image_features
from assets.prices import coin_prices, reference_index
from assets.thumbnails import thumbnails
from resources.console_log import CONSOLE

THUMBNAILS_MAX_RUNTIME_SECONDS = 1800
PRICES_MAX_RUNTIME_SECONDS = 600

# Named differently from their assets: Dagster requires unique graph names.
fetch_thumbnails = dg.define_asset_job(
    "fetch_thumbnails",
    selection=dg.AssetSelection.assets(thumbnails, image_features),
    description="Fetch waiting pictures, purge those of deleted posts, and compute the features of new ones.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(THUMBNAILS_MAX_RUNTIME_SECONDS)},
)

fetch_prices = dg.define_asset_job(
    "fetch_prices",
    selection=dg.AssetSelection.assets(coin_prices),
    description="Fetch prices from the first source with remaining budget.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(PRICES_MAX_RUNTIME_SECONDS)},
)

fetch_reference_index = dg.define_asset_job(
    "fetch_reference_index",
    selection=dg.AssetSelection.assets(reference_index),
    description="Fetch the newest days of alternative.me's index, for comparison.",
    config=CONSOLE,
    tags={"dagster/max_runtime": str(PRICES_MAX_RUNTIME_SECONDS)},
)
