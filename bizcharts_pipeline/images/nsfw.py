"""Decisions based on a picture's NSFW score, which is 0 to 1; docs/content-safety.md describes its limits."""

from bizcharts_pipeline.settings import ImageSettings


def is_blurred(nsfw: float | None, settings: ImageSettings) -> bool:
    """Return whether a picture is blurred; an unrated one always is."""
    return nsfw is None or nsfw >= settings.blur_from


def may_be_sent(nsfw: float | None, status: str, settings: ImageSettings) -> bool:
    """Return whether a picture may be sent to a labelling API; an unrated or unstored one never may."""
    return status == "stored" and nsfw is not None and nsfw < settings.send_below
