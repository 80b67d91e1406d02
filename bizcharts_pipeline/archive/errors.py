"""Answers that are no page of the Warosu archive, or not a whole one, and how they are told apart."""

from selectolax.lexbor import LexborHTMLParser, LexborNode

from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.fields import one_line

_BOT_CHECKS = ("Just a moment", "Attention Required!")
_CAUSE_MAX_CHARACTERS = 200


class ArchiveFormatError(SourceError):
    """An answer of status 200 that can not be read as a page of the archive. It says nothing about what is there."""


class BotCheck(ArchiveFormatError):
    """What stands before the archive answered in its place: it is a refusal, whatever its status."""


def refusal(tree: LexborHTMLParser, title: str, body: bytes) -> ArchiveFormatError:
    """Return the error of an answer without the block that every page of the archive has, or with nothing in it."""
    shown = f"{len(body):,} bytes, titled {title[:80]!r}"
    if title.startswith(_BOT_CHECKS) or title.endswith("| Cloudflare"):
        return BotCheck(
            f"Cloudflare's bot check came in place of a page of the archive ({shown}): try again later; if it lasts, "
            "open the archive in a browser from this address, and set BIZCHARTS_CONTACT"
        )
    error = tree.css_first("div.error")
    if error is not None:
        cause = "; ".join(text_of(item) for item in error.css("li")) or text_of(error)
        return ArchiveFormatError(
            f"The archive reports an error: {cause[:_CAUSE_MAX_CHARACTERS]!r}. Try again later; if it lasts, "
            "narrow the question"
        )
    if b"<" not in body:
        return ArchiveFormatError(f"No HTML page ({shown}): what stands between this machine and the archive?")
    if _ends_within_a_tag(body):
        return ArchiveFormatError(f"Only the beginning of a page ({shown}): try again later")
    return ArchiveFormatError(
        f"Neither posts nor the words 'No posts found' ({shown}): the archive's layout has changed, or something else "
        "answers for it. The page has to be looked at, and the reader to be taught it; nothing is stored until then"
    )


def truncation(body: bytes, content: LexborNode) -> str | None:
    """Return why a page with posts is only the beginning of one, as far as that can be told.

    End tags that HTML lets a page leave out tell nothing. What always has one is the text of a post, and the form
    that holds the posts; a page without that form that ends between two posts passes for a whole one.
    """
    last_post = body.rfind(b"posttime")
    if _ends_within_a_tag(body):
        how = "within a tag"
    elif body.rfind(b"<blockquote") > body.rfind(b"</blockquote"):
        how = "within a post's text"
    elif last_post > body.rfind(b"</blockquote") and not _closes_something(body, last_post):
        how = "within a post"
    elif _stands_in_a_form(content) and body.rfind(b"</form") < last_post:
        how = "among its posts"
    else:
        return None
    return f"Only the beginning of a page: its {len(body):,} bytes end {how}; try again later"


def text_of(node: LexborNode | None) -> str:
    """Return a node's text in one line; nothing for no node."""
    return one_line(node.text()) if node is not None else ""


def _ends_within_a_tag(body: bytes) -> bool:
    return body.rfind(b"<") > body.rfind(b">")


def _closes_something(body: bytes, start: int) -> bool:
    return any(body.find(tag, start) >= 0 for tag in (b"</table", b"</td", b"</div", b"</form"))


def _stands_in_a_form(node: LexborNode) -> bool:
    parent = node.parent
    while parent is not None and parent.tag != "form":
        parent = parent.parent
    return parent is not None
