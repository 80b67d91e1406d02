"""Errors of the images room; an unusable picture is a status in the database, not an error."""

from bizcharts_pipeline.core.errors import BizchartsError


class ImageError(BizchartsError):
    """Base class: pictures cannot be processed at all."""


class DecoderUnavailable(ImageError):
    """The decoder process does not start."""


class NothingToBlock(ImageError):
    """The input is neither a hash nor a post with a known picture."""
