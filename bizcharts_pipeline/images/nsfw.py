"""What a picture's NSFW score decides. The score is 0 to 1; docs/content-safety.md says what it is worth."""

from bizcharts_pipeline.settings import ImageSettings


def is_blurred(nsfw: float | None, settings: ImageSettings) -> bool:
    """Whether a picture is shown blurred; one that was not rated always is."""
    return nsfw is None or nsfw >= settings.blur_from


def may_be_sent(nsfw: float | None, status: str, settings: ImageSettings) -> bool:
    """Whether a picture may go to a labelling API; one that was not rated, or is not stored, never may."""
    return status == "stored" and nsfw is not None and nsfw < settings.send_below
