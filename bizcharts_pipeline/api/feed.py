"""An Atom feed (RFC 4287) of changes of the index's class."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from bizcharts_pipeline.core.clock import iso_utc
from bizcharts_pipeline.index.readings import label_of
from bizcharts_pipeline.index.words import in_words
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.text.untrusted import plain
from bizcharts_pipeline.warehouse.as_of import Revision
from bizcharts_pipeline.warehouse.published import Reading

MAX_ENTRIES = 50
LOOK_BACK = {"hour": 24 * 30, "day": 365 * 2}  # buckets
_AUTHORITY = "tag:bizcharts,2026"
_NEVER = "1970-01-01T00:00:00Z"


def class_changes(readings: Sequence[Reading]) -> list[tuple[Reading, Reading]]:
    """Return the entries of the API's feed: the final readings whose class differs from the last one's before them,
    each behind that one.

    ``readings`` ascend by time; those without a value are passed over.
    """
    valued = [reading for reading in readings if reading.final and reading.value is not None]
    return [(before, after) for before, after in pairwise(valued) if _label(before) != _label(after)]


def atom_feed(readings: Sequence[Reading], found: Revision, bucket: str, parameters: FearGreedSettings) -> bytes:
    """Return the API's Atom feed of the newest changes in ``readings``, which ascend by time."""
    entries = [_entry(before, after, parameters) for before, after in class_changes(readings)[-MAX_ENTRIES:][::-1]]
    newest = found.newest_computed_at
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<id>{_AUTHORITY}:class-changes/{bucket}</id>",
        f"<title>Mood of /biz/: changes of the class by {bucket}</title>",
        f"<updated>{iso_utc(newest) if newest else _NEVER}</updated>",
        "<author><name>BizCharts</name></author>",
        f'<link rel="self" href="/v1/feed.atom?bucket={bucket}"/>',
        *entries,
        "</feed>",
        "",
    ]
    return "\n".join(lines).encode()


def _entry(before: Reading, after: Reading, parameters: FearGreedSettings) -> str:
    at = f"{after.bucket_start:%Y-%m-%d}" if after.bucket == "day" else f"{after.ended_at:%Y-%m-%d %H:%M}"
    title = f"{at} UTC: {_label(before)} to {_label(after)}, index {after.value:.0f}"
    return (
        f"<entry><id>{_AUTHORITY}:class-change/{after.bucket}/{after.bucket_start.isoformat()}</id>"
        f"<title>{_text(title)}</title><updated>{iso_utc(after.knowable_at)}</updated>"
        f"<published>{iso_utc(after.knowable_at)}</published>"
        f'<content type="text">{_text(in_words(after, parameters))}</content></entry>'
    )


def _label(reading: Reading) -> str:
    return label_of(reading.value) if reading.value is not None else reading.state


def _text(text: str) -> str:
    return escape(plain(text))
