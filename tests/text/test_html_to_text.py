"""What a reader sees is what the text says, whatever the HTML."""

import gzip
import json
import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bizcharts_pipeline.text.html import MAX_HTML_CHARACTERS, html_to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("one<br>two<br /><br>three", "one\ntwo\n\nthree"),
        ('<span class="quote">&gt;tfw</span><br>ok', ">tfw\nok"),
        ("<span class=unkfunc>&gt;tfw</span><br>ok", ">tfw\nok"),
        ('<a href="#p12" class="quotelink">&gt;&gt;12</a> no', ">>12 no"),
        ('<span class="deadlink">&gt;&gt;12</span>', ">>12"),
        ("https://a.b/long<wbr>word", "https://a.b/longword"),
        ("the <s>butler</s> did it", "the butler did it"),
        ('see<pre class="prettyprint">x &lt; 1<br>y</pre>there', "see\nx < 1\ny\nthere"),
        ("it&#039;s 5&#44;000 &amp; &quot;up&quot;", 'it\'s 5,000 & "up"'),
        ("<br><br>a<br><br><br><br>b<br>", "a\n\nb"),
        ("nul\x00, bell\x07 and escape\x1b", "nul, bell and escape"),
        ("written\nin two\nsource lines", "written in two source lines"),
        ("before<script>alert(1)</script>after", "beforeafter"),
        ("<p>first</p><p>second</p>", "first\n\nsecond"),
        ("unclosed <b>bold <i>text", "unclosed bold text"),
        ("", ""),
    ],
)
def test_the_text_is_what_a_reader_sees(html: str, text: str) -> None:
    assert html_to_text(html) == text


@given(
    st.text()
    | st.text(alphabet="<>/&;#x039 \n\x00brspanwbc='\"")
    | st.text(st.characters(categories=["Cs", "Cc", "Lu"]))
)
@example("<frameset>")
@example("\ud800<br>")
@example("&#xd800;&#0;")
def test_any_string_gives_clean_text(html: str) -> None:
    text = html_to_text(html)
    assert text == text.strip()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]|\n\n\n", text)
    text.encode()


@pytest.mark.parametrize(
    "piece", ["<div>", "<b></p>", "<b><i><u><s>", "<font size=1>", "<a ", "&amp", "<", "<!--", "<pre "]
)
def test_a_megabyte_of_hostile_markup_ends(piece: str) -> None:
    html_to_text((piece * 1_000_000)[:1_000_000])


def test_a_tag_of_thousands_of_attributes_is_left_out() -> None:
    attributes = " ".join(f"a{n}=b" for n in range(5_000))
    assert html_to_text(f"sell <b {attributes}>it</b> all") == "sell it all"
    assert html_to_text(f"sell it <b {attributes}") == "sell it"


def test_what_lies_beyond_the_longest_possible_post_is_not_read() -> None:
    assert len(html_to_text("x" * 1_000_000)) == MAX_HTML_CHARACTERS


def _comments(folder: Path) -> list[str]:
    comments = []
    with gzip.open(folder / "g_threads_2014.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            comments += [post["com"] for post in json.loads(line)["body"]["posts"] if "com" in post]
    for path in (*folder.glob("*_catalog_*.json"), *folder.glob("v_thread_*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        threads = (
            [thread for page in content for thread in page["threads"]]
            if isinstance(content, list)
            else content["posts"]
        )
        comments += [thread["com"] for thread in threads if "com" in thread]
    return comments


def test_real_posts_keep_their_lines_quotes_and_words(shared_data: Path) -> None:
    comments = _comments(shared_data / "4chan_api")
    assert len(comments) > 9_000
    for html in comments:
        text = html_to_text(html)
        assert text.count(">>") >= html.count('class="quotelink">&gt;&gt;')
        if '<span class="quote">' in html:
            assert re.search(r"^>", text, re.MULTILINE)
        words = unescape(re.sub(r"<[^>]*>", "", html))
        assert re.sub(r"\s+", "", text) == re.sub(r"\s+", "", words)
