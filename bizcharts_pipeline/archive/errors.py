"""Errors for responses that are not complete pages of the Warosu archive, and their detection."""

from selectolax.lexbor import LexborHTMLParser, LexborNode

from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.fields import one_line

_BOT_CHECKS = ("Just a moment", "Attention Required!")
_CAUSE_MAX_CHARACTERS = 200


class ArchiveFormatError(SourceError):
    """A response with status 200 is not a readable page of the archive; nothing follows about its content."""


class BotCheck(ArchiveFormatError):
    """A bot check responded in place of the archive: a refusal, regardless of its status."""


def refusal(tree: LexborHTMLParser, title: str, body: bytes) -> ArchiveFormatError:
    """Return the error for a response that is empty or lacks the element found on every page of the archive."""
    shown = f"{len(body):,} bytes, titled {title[:80]!r}"
    if title.startswith(_BOT_CHECKS) or title.endswith("| Cloudflare"):
        return BotCheck(
            f"Cloudflare's bot check responded in place of the archive ({shown}): try again later; if it persists, "
            "open the archive in a browser from this address, and set BIZCHARTS_CONTACT"
        )
    error = tree.css_first("div.error")
    if error is not None:
        cause = "; ".join(text_of(item) for item in error.css("li")) or text_of(error)
        return ArchiveFormatError(
            f"The archive reports an error: {cause[:_CAUSE_MAX_CHARACTERS]!r}. Try again later; if it persists, "
            "narrow the search"
        )
    if b"<" not in body:
        return ArchiveFormatError(f"Not an HTML page ({shown}): is a proxy between this machine and the archive?")
    if _ends_within_a_tag(body):
        return ArchiveFormatError(f"Truncated page ({shown}): try again later")
    return ArchiveFormatError(
        f"Neither posts nor the words 'No posts found' ({shown}): the archive's layout has changed, or a proxy "
        "responds. Inspect the page and adapt the parser; nothing is stored until then"
    )


def truncation(body: bytes, content: LexborNode) -> str | None:
    """Return why an archive's page with posts is truncated; ``None`` if it seems complete.

    Optional end tags are no evidence. The text of a post always has an end tag, and so has the form that contains the
    posts; a page without that form that ends between two posts cannot be distinguished from a complete one.
    """
    last_post = body.rfind(b"posttime")
    if _ends_within_a_tag(body):
        how = "within a tag"
    elif body.rfind(b"<blockquote") > body.rfind(b"</blockquote"):
        how = "within a post's text"
    elif last_post > body.rfind(b"</blockquote") and not _closes_something(body, last_post):
        how = "within a post"
    elif _is_in_form(content) and body.rfind(b"</form") < last_post:
        how = "among its posts"
    else:
        return None
    return f"Truncated page: its {len(body):,} bytes end {how}; try again later"


def text_of(node: LexborNode | None) -> str:
    """Return the text of a node of the archive's page on one line; empty without a node."""
    return one_line(node.text()) if node is not None else ""


def _ends_within_a_tag(body: bytes) -> bool:
    return body.rfind(b"<") > body.rfind(b">")


def _closes_something(body: bytes, start: int) -> bool:
    return any(body.find(tag, start) >= 0 for tag in (b"</table", b"</td", b"</div", b"</form"))


def _is_in_form(node: LexborNode) -> bool:
    parent = node.parent
    while parent is not None and parent.tag != "form":
        parent = parent.parent
    return parent is not None
