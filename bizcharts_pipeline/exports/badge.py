"""A badge with the current reading, as SVG and as PNG."""

from html import escape
from io import BytesIO

from bizcharts_pipeline.index.plot import COLOURS
from bizcharts_pipeline.index.readings import LABELS, THIN, label_of
from bizcharts_pipeline.warehouse.published import Reading

NAME = "/biz/ mood"
HEIGHT, MARGIN, CHARACTER = 20, 7, 6.6  # pixels; a character's mean width at 11 px
GREY, DARK, LIGHT = "#9aa0a6", "#1b2631", "#ffffff"
_SCALE = 2  # of the PNG, for sharp screens


def badge_text(reading: Reading | None) -> str:
    """Return the text of the published badge: value and class, or the reason why there is no value."""
    if reading is None:
        return "no data yet"
    if reading.value is None:
        return reading.state
    thin = " (thin)" if reading.state == THIN else ""
    return f"{reading.value:.0f} {label_of(reading.value)}{thin}"


def svg_badge(reading: Reading | None) -> str:
    """Draw the published badge of ``reading`` as SVG; ``None``: there was none yet."""
    text = badge_text(reading)
    left, right = _width(NAME), _width(text)
    background, foreground = _colours(reading)
    title = escape(f"{NAME}: {text}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{HEIGHT}" role="img" '
        f'aria-label="{title}" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"<title>{title}</title>"
        f'<rect width="{left + right}" height="{HEIGHT}" rx="3" fill="{background}"/>'
        f'<path d="M3 0H{left}V{HEIGHT}H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="{DARK}"/>'
        + _words(NAME, MARGIN, left, LIGHT)
        + _words(text, left + MARGIN, right, foreground)
        + "</svg>"
    )


def png_badge(reading: Reading | None) -> bytes:
    """Draw the published badge as a PNG of twice the size."""
    from PIL import Image, ImageDraw, ImageFont

    text = badge_text(reading)
    background, foreground = _colours(reading)
    font = ImageFont.load_default(11 * _SCALE)
    left, right = (round(font.getlength(words)) + 2 * MARGIN * _SCALE for words in (NAME, text))
    image = Image.new("RGB", (left + right, HEIGHT * _SCALE), background)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, left - 1, HEIGHT * _SCALE), fill=DARK)
    middle = HEIGHT * _SCALE / 2
    draw.text((MARGIN * _SCALE, middle), NAME, fill=LIGHT, font=font, anchor="lm")
    draw.text((left + MARGIN * _SCALE, middle), text, fill=foreground, font=font, anchor="lm")
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _words(text: str, x: int, width: int, colour: str) -> str:
    """Text that is as wide as its field, whatever font the reader has."""
    return f'<text x="{x}" y="14" textLength="{width - 2 * MARGIN}" fill="{colour}">{escape(text)}</text>'


def _width(text: str) -> int:
    return round(len(text) * CHARACTER) + 2 * MARGIN


def _colours(reading: Reading | None) -> tuple[str, str]:
    """Background and text colour; each pair has a contrast of 4.5 or more."""
    if reading is None or reading.value is None:
        return GREY, DARK
    label = label_of(reading.value)
    return COLOURS[LABELS.index(label)], LIGHT if label in (LABELS[0], LABELS[-1]) else DARK
