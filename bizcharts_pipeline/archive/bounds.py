"""Bounds on a page's markup, checked before it is parsed.

An HTML parser looks through all open elements at each tag, and through all attributes of a tag at each further one, so
a hostile page of two megabytes would take minutes to hours. Real pages have about ten open elements and tags of at most
some hundred bytes. Within the bounds, the slowest page of two megabytes found takes three seconds.
"""

import re
from collections import Counter

from bizcharts_pipeline.archive.errors import ArchiveFormatError

MAX_OPEN = 256
MAX_TAG_BYTES = 4096
MAX_SPLIT = 32
_TAG = re.compile(rb"<(/?)([a-z][a-z0-9]*)", re.IGNORECASE)
# They have no end tag, or may lack it, and do not nest without one of the others between.
_NOT_COUNTED = frozenset(
    b"area base br col embed hr img input link meta param source track wbr "
    b"colgroup dd dt li optgroup option p rp rt tbody td tfoot th thead tr".split()
)
# From the first beginning of a tag that may be one to the next ">".
_STRETCH = re.compile(rb"</?[a-z][^>]*", re.IGNORECASE)
# A value in quotes with a ">" in it, so that the tag goes on beyond its stretch.
_SPLIT = re.compile(rb"""=[ \t\r\n\f]*(?:"[^">]*>|'[^'>]*>)""")
# The parser adds the attributes of a second such tag to those of the first.
_MERGED = re.compile(rb"<(?:html|body)[^>]*", re.IGNORECASE)


def check_bounds(body: bytes) -> None:
    """Check that the parser will read the archive's page ``body`` within seconds.

    Raises:
        ArchiveFormatError: elements are nested too deeply, or a tag is too long.
    """
    _check_nesting(body)
    _check_tags(body)


def _check_tags(body: bytes) -> None:
    """Check that no tag is longer than :data:`MAX_TAG_BYTES`, nor those together whose attributes are merged; only
    :data:`MAX_SPLIT` times may a tag go on after a ``>`` in quotes.
    """
    longest = max((len(stretch[0]) for stretch in _STRETCH.finditer(body)), default=0)
    merged = sum(len(tag[0]) for tag in _MERGED.finditer(body))
    if max(longest, merged) > MAX_TAG_BYTES:
        raise ArchiveFormatError(f"The page has a tag of over {MAX_TAG_BYTES:,} bytes")
    if len(_SPLIT.findall(body)) > MAX_SPLIT:
        raise ArchiveFormatError(f"The page has '>' within the quotes of over {MAX_SPLIT} attributes")


def _check_nesting(body: bytes) -> None:
    """Check that at most :data:`MAX_OPEN` elements are open at once; an end tag ends only elements of its name.

    Raises:
        ArchiveFormatError: more are.
    """
    by_name: Counter[bytes] = Counter()
    opened = 0
    for tag in _TAG.finditer(body):
        name = tag[2].lower()
        if name in _NOT_COUNTED:
            continue
        if not tag[1]:
            by_name[name] += 1
            opened += 1
            if opened > MAX_OPEN:
                raise ArchiveFormatError(f"The page is nested too deeply: over {MAX_OPEN} elements are open at once")
        elif by_name[name]:
            by_name[name] -= 1
            opened -= 1
