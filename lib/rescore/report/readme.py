"""A paper's README as a part of its page."""

import re
from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup


def readme_html(text: str) -> Markup:
    """A README as HTML: no raw HTML, no pictures, and of links only those to the web, for the report has no other files."""
    reader = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = reader.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        if token.children:
            token.children = list(_offline(token.children))
    html = reader.renderer.render(tokens, reader.options, {})
    return Markup(html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>"))


def code(text: str) -> Markup:
    """A text as HTML, with what stands between backticks as code."""
    return Markup(MarkdownIt("zero", {"html": False}).enable("backticks").renderInline(text))


def _offline(tokens: Iterable[Token]) -> Iterable[Token]:
    kept = []
    for token in tokens:
        if token.type == "image":
            yield Token("text", "", 0, content=token.content)
        elif token.type == "link_open":
            kept.append(re.match("https?://", str(token.attrGet("href"))) is not None)
            if kept[-1]:
                token.attrSet("rel", "noreferrer")
                yield token
        elif token.type != "link_close" or kept.pop():
            yield token
