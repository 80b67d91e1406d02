"""HTML pages with the current reading: the report of an export, and the small page for other sites to embed.

They have no script, load nothing, and every name in them is escaped.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.exports.badge import badge_text
from bizcharts_pipeline.index.plot import svg_plot
from bizcharts_pipeline.index.words import in_short, in_words, marks_borderline, notes
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.text.untrusted import as_html
from bizcharts_pipeline.warehouse.published import CoinReading, Reading

PLOTTED_DAYS = 180
SHOWN_DAYS, SHOWN_COINS = 14, 50
MAX_NAME = 20  # characters of a coin's or a model's name that are shown
DISCLAIMER = "A research tool, not financial advice. Source: opening posts of 4chan's /biz/ board."
NOTHING = "There is no reading yet."
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b2631; background: #fff; max-width: 50rem; margin: 1rem auto;
  padding: 0 1rem }
p { overflow-wrap: anywhere }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem } .now { font-size: 1.8rem; margin: 0 }
svg { max-width: 100%; height: auto } .scroll { overflow-x: auto }
table { border-collapse: collapse }
th, td { padding: .15rem .7rem .15rem 0; text-align: right; white-space: nowrap }
th:first-child, td:first-child, .words th:last-child, .words td:last-child { text-align: left }
footer { color: #566573; font-size: .9rem }
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Figures:
    """The data of a page: readings of the newest hour and of days, newest first, and the coins of the newest day."""

    hour: Reading | None
    days: Sequence[Reading]
    coins: Sequence[CoinReading]
    as_of: datetime | None  # naive UTC; None: the present state


def report_page(figures: Figures, parameters: FearGreedSettings) -> str:
    """Return the report of an export as an HTML page."""
    parts = ["<h1>Mood of 4chan's /biz/ board</h1>", *_now(figures, parameters), _plot(figures)]
    if figures.days:
        parts += ["<h2>By day</h2>", _days_table(figures.days[:SHOWN_DAYS])]
        parts += [f"<p>{as_html(line)}</p>" for line in notes(figures.days[:SHOWN_DAYS], parameters)]
    if figures.coins:
        first = figures.coins[0]
        so_far = "" if first.final else ", so far"
        parts += [f"<h2>Coins on {first.bucket_start:%Y-%m-%d} (UTC{so_far})</h2>", _coins_table(figures.coins)]
    model = as_html(figures.hour.model_version if figures.hour else "none", MAX_NAME)
    parts.append(f"<footer><p>Scoring model: <bdi>{model}</bdi>. Times are UTC. {DISCLAIMER}</p></footer>")
    return document("Mood of /biz/", parts)


def embed_page(figures: Figures, parameters: FearGreedSettings) -> str:
    """Return the page with the current reading that other sites may show in a frame."""
    return document("Mood of /biz/", [*_now(figures, parameters), _plot(figures), f"<footer>{DISCLAIMER}</footer>"])


def _now(figures: Figures, parameters: FearGreedSettings) -> list[str]:
    """The newest hour in words, and when it was."""
    as_of = f", as of {figures.as_of:%Y-%m-%d %H:%M} UTC" if figures.as_of else ""
    hour = figures.hour
    if hour is None:
        return [f"<p>{NOTHING[:-1]}{as_of}.</p>"]
    words = in_words(hour, parameters)
    so_far = "" if hour.final else ", so far"
    interval = "" if hour.lo is None or hour.hi is None else f"90 % interval {hour.lo:.0f} to {hour.hi:.0f}; "
    return [
        f'<p class="now">{as_html(badge_text(hour))}</p>',
        f"<p>{as_html(words[:1].upper() + words[1:])}.</p>" if words else "",
        f"<p>{interval}{counted(hour.n, 'post')}; hour from {hour.bucket_start:%Y-%m-%d %H:%M} UTC{so_far}{as_of}.</p>",
    ]


def _plot(figures: Figures) -> str:
    return svg_plot(figures.days[:PLOTTED_DAYS][::-1], caption="by UTC day, with the 90 % interval")


def _days_table(days: Sequence[Reading]) -> str:
    mark = marks_borderline(days)
    return html_table(
        ["day (UTC)", "index", "90 %", "stance", "posts", "class"],
        [
            [
                f"{day.bucket_start:%Y-%m-%d}" + ("" if day.final else " *"),
                "-" if day.value is None else f"{day.value:.0f}",
                "-" if day.lo is None or day.hi is None else f"{day.lo:.0f} to {day.hi:.0f}",
                "-" if day.stance is None else f"{day.stance:+.2f}",
                f"{day.n:,}",
                as_html(in_short(day, mark=mark)),
            ]
            for day in days
        ],
        "words",
    )


def _coins_table(coins: Sequence[CoinReading]) -> str:
    shown = [
        [
            f"<bdi>{as_html(coin.coin_symbol, MAX_NAME)}</bdi>",
            "-" if coin.score is None else f"{coin.score:+.2f}",
            "-" if coin.lo is None or coin.hi is None else f"{coin.lo:+.2f} to {coin.hi:+.2f}",
            f"{coin.mentions:,}",
            f"{coin.n_eff:.1f}",
        ]
        for coin in coins[:SHOWN_COINS]
    ]
    more = len(coins) - len(shown)
    table = html_table(["coin", "stance", "90 %", "mentions", "effective"], shown)
    return table + (f"<p>{counted(more, 'further coin')} in the tables.</p>" if more else "")


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "numbers") -> str:
    """Return a table of an exported page from cells that are HTML already; ``kind`` is "words" if the last column has
    words."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    table = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    # A keyboard can scroll what it can focus.
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{columns[0]}, table">{table}</div>'


def document(title: str, parts: Sequence[str]) -> str:
    """Return an exported HTML page with our style; ``title`` and ``parts`` are HTML already, empty parts are left
    out."""
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
