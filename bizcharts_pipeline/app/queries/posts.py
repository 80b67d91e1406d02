"""The opening posts behind an hour's reading."""

from datetime import datetime

import duckdb

from bizcharts_pipeline.app.queries.cached import once_per_file
from bizcharts_pipeline.app.queries.index import HOUR
from bizcharts_pipeline.warehouse.image_neighbours import PictureLabels, labels_of_pictures
from bizcharts_pipeline.warehouse.posts import PostsFound, posts_between

MAX_POSTS = 100


@once_per_file
def posts_of_hour(
    connection: duckdb.DuckDBPyConnection, hour: datetime, model_version: str, as_of: datetime | None
) -> PostsFound:
    """Return for the app's page the posts made in the hour that begins at ``hour`` (naive UTC), as ``model_version``
    scored them."""
    return posts_between(connection, hour, hour + HOUR, model_version, MAX_POSTS, as_of)


@once_per_file
def picture_labels(
    connection: duckdb.DuckDBPyConnection, thread_ids: tuple[int, ...], as_of: datetime | None
) -> dict[int, PictureLabels]:
    """Return for the posts on the app's page how people labelled other posts with nearly the same picture, by
    thread."""
    return labels_of_pictures(connection, thread_ids, as_of)
