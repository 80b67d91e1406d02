"""Speed of parsing the archive's pages, compared with bare selectolax on the same pages.

The bare variant is the obvious code with selectolax: it builds the tree and finds each field of each post by a
selector, as unvalidated strings. Building only the tree is the lower bound of both: it runs in C, while extracting the
posts runs in Python. Run: ``python -m benchmarks archive``
"""

import random
import time
from pathlib import Path
from statistics import median

from selectolax.lexbor import LexborHTMLParser

from benchmarks.measure import Row, alternated, ratio
from bizcharts_pipeline.archive.markup import parse_page
from tests.archive.warosu_samples import Sample, index, results, sample, thread

ROUNDS = 40
REAL_PAGE = Path(__file__).parents[2] / "shared" / "data" / "warosu_html" / "tg_thread_40312392.html"
WORDS = ["the", "market", "will", "crab", "for", "months", "and", "whoever", "sells", "the", "bottom", "buys", "again"]
FIELDS = (".postername", ".postertrip", ".filetitle", ".fileinfo", "a.js", ".inline")


def rows() -> list[Row]:
    """Return every figure: medians of CPU time over alternated runs."""
    random.seed(1)
    pages = {
        "24 results, 2025 markup": results("B", *(_post(n, n, 90) for n in range(61_000_000, 61_000_024))),
        "24 results, XHTML until 2023": results("A", *(_post(n, n, 90) for n in range(61_000_000, 61_000_024))),
        "index of 10 threads, 2025 markup": index(
            "B",
            *((_post(n, n, 90), 30, tuple(_post(n + m, n, 30) for m in range(1, 6))) for n in range(1000, 1100, 10)),
        ),
        "thread of 200 replies, 2025 markup": thread("B", *(_post(n, 1000, 30) for n in range(1000, 1201))),
    }
    if REAL_PAGE.exists():
        pages["real thread of 494 replies, XHTML"] = REAL_PAGE.read_bytes()
    return [row for name, body in pages.items() for row in _rows(name, body)]


def _rows(name: str, body: bytes) -> list[Row]:
    ours, bare, tree = alternated(
        lambda: parse_page(body),
        lambda: _bare(body),
        lambda: LexborHTMLParser(body),
        rounds=ROUNDS,
        clock=time.process_time,
    )
    return [
        (
            f"parse_page, {name}",
            1 / median(ours),
            "pages/s",
            f"{len(body):,} bytes; goal: at most 2",
            ratio(ours, bare),
        ),
        ("bare selectolax", 1 / median(bare), "pages/s", "same page, same run; the same fields by selectors"),
        (
            "selectolax's tree alone",
            1 / median(tree),
            "pages/s",
            f"no fields; parse_page takes {ratio(ours, tree)} times",
        ),
    ]


def _bare(body: bytes) -> list[dict[str, object]]:
    posts = []
    for cell in LexborHTMLParser(body).css("td.reply,div[id^=p]"):
        post: dict[str, object] = {"id": cell.id}
        for selector in FIELDS:
            node = cell.css_first(selector)
            post[selector] = node.text() if node is not None else None
        time, text, thumb = cell.css_first(".posttime"), cell.css_first("blockquote"), cell.css_first("img.thumb")
        post["time"] = time.attributes["title"] if time is not None else None
        post["html"] = text.inner_html if text is not None else None
        if thumb is not None and thumb.parent is not None:
            post["thumbnail"], post["image"] = thumb.attributes["src"], thumb.parent.attributes.get("href")
        posts.append(post)
    return posts


def _post(number: int, thread_id: int, words: int) -> Sample:
    """Return a post like those of the board: half of the replies quote, a third have greentext, a fifth a file."""
    text = " ".join(random.choices(WORDS, k=random.randint(1, 2 * words)))
    if number % 3 == 0:
        text = f"<span class=unkfunc>&gt;{text[:60]}</span><br>{text}"
    if number != thread_id and number % 2:
        text = f"<a class=backlink href=#p{thread_id}>&gt;&gt;{thread_id}</a><br>{text}"
    if number == thread_id or number % 5 == 0:
        return sample(number, thread_id, text=text, subject="/smg/ general", file="55 KB, 450x675, a.jpg", link="own")
    return sample(number, thread_id, text=text)
