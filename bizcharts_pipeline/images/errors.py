"""What can go wrong with pictures; a bad picture is a state in the database, and none of these."""

from bizcharts_pipeline.core.errors import BizchartsError


class ImageError(BizchartsError):
    """Pictures can not be dealt with at all; the root of this room's errors."""


class DecoderUnavailable(ImageError):
    """The guarded decoder does not start."""


class NothingToBlock(ImageError):
    """What is to be blocked is no hash, and no post whose picture is known."""
