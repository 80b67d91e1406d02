"""Kind of a picture by stated rules: chart, screenshot, meme or photo.

The rules are guesses about what people post, checked on the drawn pictures of the demo alone, so a model reads the kind
as one weak feature among many. Where no text is read, a screenshot is told by its colours, and no picture is a meme.
"""

from collections.abc import Mapping

from bizcharts_pipeline.warehouse.image_features import ImageKind

DRAWN_GROUND = (
    0.3  # share of the most frequent of 4,096 colours, from which a picture is drawn rather than photographed
)
DRAWN_PALETTE = 0.25  # and of colours that are not rare, of 256, up to which it is
SCREENSHOT_LINES = 6  # lines of text
SCREENSHOT_TEXT = 0.2  # or share of the area, of more lines than a chart has
CHART_LINES = 1  # lines of text up to which a drawing is a chart, also in grey
CHART_COLOUR = 0.004  # share of coloured pixels of a drawing, from which it is a chart


def kind_of(colours: Mapping[str, float], lines: int | None, text_share: float | None) -> ImageKind:
    """Return the kind of a picture from its statistics of colours and of text (``None``: no text was read)."""
    few = lines is not None and lines <= CHART_LINES
    if lines is not None and (lines >= SCREENSHOT_LINES or (not few and (text_share or 0.0) >= SCREENSHOT_TEXT)):
        return "screenshot"
    if colours["ground"] >= DRAWN_GROUND and colours["palette"] <= DRAWN_PALETTE:
        return "chart" if few or colours["coloured"] >= CHART_COLOUR else "screenshot"
    return "meme" if lines else "photo"
