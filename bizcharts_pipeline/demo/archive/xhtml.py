"""Page writer of generation A of the simulated archive: the XHTML of the Fuuka program."""

import html
import re
from collections.abc import Sequence
from datetime import datetime

from bizcharts_pipeline.demo.archive.markup import (
    ADDRESS,
    CAPCODES,
    LINK,
    LONG_THREAD,
    QUOTE,
    TITLE,
    Markup,
    anchor,
    file_line,
    hidden,
    icons,
    mailto,
    omitted_line,
)
from bizcharts_pipeline.demo.archive.posts import NEW_YORK, ArchivePost
from bizcharts_pipeline.demo.archive.search import TEXT_FIELDS, link_hash


class Xhtml(Markup):
    """Page writer of generation A."""

    def document(self, content: str, *, subject: str | None = None) -> str:
        return (
            f'{self.head()}<body>\n<div>[ <a href="/{self.board}/" title="{TITLE}">{self.board}</a> ]</div>\n'
            f"<div><h1>/{self.board}/ - {TITLE}</h1></div>\n<hr />\n{self._search_forms()}<hr />\n"
            f'<form id="postform" action="/{self.board}/" method="post" enctype="multipart/form-data">\n'
            f'<div class="content">\n{content}</div>\n</form>\n</body>\n</html>\n'
        )

    def head(self, subject: str | None = None) -> str:
        return (
            '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" '
            '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">\n'
            '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en">\n<head>\n'
            f"<title>/{self.board}/ - {TITLE}</title>\n"
            '<meta http-equiv="content-type" content="application/xhtml+xml; charset=UTF-8" />\n'
            '<style type="text/css"><!--\n\t.reply { background:#eee; }\n\t.thumb, .nothumb { float: left; }\n'
            "--></style>\n</head>\n"
        )

    def _search_forms(self) -> str:
        texts = "".join(
            f'<tr><td class="postblock">{name.removeprefix("search_")}</td>'
            f'<td><input type="text" name="{name}" size="32" value="" /></td></tr>\n'
            for name in (*TEXT_FIELDS, "search_datefrom", "search_dateto")
        )
        return (
            f'<form id="simple-search-form" action="/{self.board}/" method="get"><div class="postspan">\n'
            '<input type="hidden" name="task" value="search" /><input type="text" name="search_text" value="" />\n'
            f'</div></form>\n<form id="advanced-search-form" action="/{self.board}/" method="get">\n'
            '<div id="advanced-search" class="postspan" style="display:none;">\n'
            '<input type="hidden" name="task" value="search2" />\n'
            f'<table><tbody>\n<tr><td colspan="2" class="theader">Search</td></tr>\n{texts}</tbody></table>\n'
            "</div></form>\n"
        )

    def opening(self, post: ArchivePost, omitted: int, shown: int, *, index: bool = False) -> str:
        board, number = self.board, post.number
        links = [f'[<a href="{self.address(post)}">Reply</a>]']
        if index and omitted + shown > LONG_THREAD:
            links.append(f'[<a href="/{board}/last50/{post.thread_id}">Last 50</a>]')
        links.append(f'[<a href="https://boards.4chan.org/{board}/thread/{number}">Original</a>]')
        tail = f'<span class="omittedposts">{omitted_line(omitted)}</span>\n' if omitted else ""
        return (
            f'<div id="{anchor(post)}" itemscope itemtype="http://schema.org/DiscussionForumPosting">\n'
            f"{self._file(post)}{self._label(post)}{self._number(post)}\n{self._icons(post)}" + "\n".join(links) + "\n"
            f'<blockquote><p itemprop="text">{self._comment(post)}</p></blockquote>\n{tail}</div>\n'
        )

    def post(self, post: ArchivePost, *, result: bool = False) -> str:
        number = self._number(post, whole=result)
        view = f'[<a href="{self.address(post)}">View</a>]\n' if result else ""
        return (
            '<table itemscope itemtype="http://schema.org/Comment"><tr>\n<td class="doubledash">&gt;&gt;</td>\n'
            f'<td class="{"subreply" if post.ghost else "reply"}" id="{anchor(post)}">\n'
            f"{self._label(post)}{number}\n{self._icons(post)}{view}<br />\n{self._file(post)}"
            f'<blockquote><p itemprop="text">\n{self._comment(post)}\n</p></blockquote>\n</td>\n</tr></table>\n'
        )

    def navigation(self, label: str, steps: Sequence[tuple[str, str]]) -> str:
        links = " ".join(f'[<a href="{html.escape(address)}">{name}</a>]' for name, address in steps)
        return (
            '<table style="float:left"><tbody><tr><td colspan="2" class="theader">Navigation</td></tr>\n'
            f'<tr><td class="postblock">{label}</td><td>{links}</td></tr></tbody></table>\n'
        )

    def reply_form(self, thread_id: int) -> str:
        return (
            '<table><tbody>\n<tr><td class="doubledash">&gt;&gt;</td>\n<td class="subreply">\n'
            '<div class="theader">Reply</div>\n<div><input type="hidden" name="parent" '
            f'value="{thread_id}" /></div>\n<table><tbody>\n<tr><td class="postblock">Name</td>'
            '<td><input type="text" name="NAMAE" size="63" /></td></tr>\n'
            '<tr><td class="postblock">Comment</td><td><textarea name="KOMENTO" cols="48" rows="4"></textarea></td>'
            "</tr>\n</tbody></table>\n</td></tr>\n</tbody></table>\n"
        )

    def rule(self) -> str:
        return '<br class="newthr" /><hr />\n'

    def _label(self, post: ArchivePost) -> str:
        subject = f'<span class="filetitle" itemprop="name">{post.subject}</span>&nbsp;\n' if post.subject else ""
        name = f'<span itemprop="name">{html.escape(post.name)}</span>'
        trip = f"&nbsp;{html.escape(post.trip)}" if post.trip else ""
        if post.mail:
            link = f'<a href="{mailto(post.mail)}">'
            name, trip = f"{link}{name}</a>", f"{link}{trip}</a>" if trip else ""
        kind = f" {post.capcode}" if post.capcode else ""
        rank = f" {CAPCODES[post.capcode]}" if post.capcode else ""
        trip = f'<span class="postertrip{kind}">{trip}</span>' if trip else ""
        local = datetime.fromtimestamp(post.stored, NEW_YORK)
        return (
            f'<label><input type="checkbox" name="delete" value="{post.number},{post.ghost}" />\n{subject}'
            f'<span class="postername{kind}" itemprop="author" itemscope itemtype="http://schema.org/Person">\n'
            f"{name}{rank}</span>{trip}\n"
            f'<span class="posttime" title="{post.stored * 1000}">{local:%a %b} {local.day} {local:%H:%M:%S %Y}</span>'
            "</label>\n"
        )

    def _number(self, post: ArchivePost, *, whole: bool = False) -> str:
        """Return the number's links: a single one on a result page, two elsewhere."""
        number = f"{post.number},{post.ghost}" if post.ghost else str(post.number)
        link = f'<a class="js" href="{self.address(post)}" onclick="replyhighlight(\'{anchor(post)}\')">No.'
        if whole:
            return f"{link}{number}</a>"
        return f'{link}</a><a class="js" href="javascript:insert(\'&gt;&gt;{number}\\n\')">{number}</a>'

    def _icons(self, post: ArchivePost) -> str:
        return "".join(
            f'<img class="inline" src="/media/{picture}" width="18" height="18" alt="{name}" title="{title}" />&nbsp;\n'
            for name, picture, title in icons(post)
        )

    def _file(self, post: ArchivePost) -> str:
        file = post.file
        if file is None:
            return ""
        full, thumbnail = self.files(post, file)
        line = (
            f"<span>{html.escape(file_line(file))}</span>\n"
            f'[<a href="/{self.board}/image/{link_hash(file.md5)}">View same</a>] '
            f'[<a href="http://iqdb.org/?url=https:{thumbnail}">iqdb</a>]\n<br />\n'
        )
        if file.state == "removed":
            return line
        image = (
            f'<img class="thumb" src="{thumbnail}" alt="{post.number}" itemprop="image" '
            f'width="{file.thumbnail_width}" height="{file.thumbnail_height}" />'
        )
        if file.state == "no thumbnail":
            image = '<img class="nothumb" src="/media/error.png" alt="ERROR" />'
        return f'{line}<a href="{full}">\n{image}\n</a>\n'

    def _comment(self, post: ArchivePost) -> str:
        text = post.comment.replace("<wbr>", "").replace(",", "&#44;").replace("<br>", "<br />")
        text = text.replace('<span class="quote">', '<span class="unkfunc">')
        text = text.replace("<s>", '<span class="spoiler">').replace("</s>", "</span>")
        text = LINK.sub(lambda link: f'<a href="{link[0]}">{link[0]}</a>', text)

        def quote(found: re.Match[str]) -> str:
            number, shown = found.groups()
            if int(number) != post.thread_id:
                return f'<a href="/{self.board}/post/{number}">{shown}</a>'
            return f'<a href="#p{number}" class="backlink" onclick="replyhighlight(\'p{number}\')">{shown}</a>'

        return ADDRESS.sub(hidden, QUOTE.sub(quote, text))
