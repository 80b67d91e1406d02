"""Errors of the images room; an unusable picture is a status in the database, not an error."""

from bizcharts_pipeline.core.errors import BizchartsError


class ImageError(BizchartsError):
    """Base class: pictures cannot be processed at all."""


class DecoderUnavailable(ImageError):
    """The decoder process does not start."""


class StoreUnavailable(ImageError):
    """A picture's file cannot be written: the disk is full or failing, or its folder is not writable."""


class NothingToBlock(ImageError):
    """The input is neither a hash nor a post with a known picture."""
