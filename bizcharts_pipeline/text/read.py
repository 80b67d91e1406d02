"""Analyses one opening post: all data derived from its text alone."""

from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.text.coins import find_mentions
from bizcharts_pipeline.text.generals import general_of
from bizcharts_pipeline.text.html import html_to_text
from bizcharts_pipeline.text.spam import spam_score


def read_thread(thread: SourceThread) -> PreparedThread:
    """Return ``thread`` with its plain text, general, spam score and coin mentions."""
    subject = thread.subject or ""
    text = html_to_text(thread.op_html or "")
    return PreparedThread(
        thread=thread,
        text=text,
        general=general_of(subject),
        spam_score=spam_score(subject, text),
        mentions=find_mentions(subject, text),
    )
