"""Pages as tests read them without a browser: elements found by tag and attributes, and their text.

Promises to refuse markup that is not well nested, since a browser would guess what it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

#: Elements without an end tag (https://html.spec.whatwg.org/multipage/syntax.html#void-elements).
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass(slots=True)
class Element:
    """One element; `texts` are its own, in order with its children."""

    tag: str
    attributes: dict[str, str]
    content: list[Element | str] = field(default_factory=list)

    def __getitem__(self, attribute: str) -> str:
        return self.attributes[attribute]

    @property
    def text(self) -> str:
        """All text in it, white space as one blank."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for part in self.content:
            if isinstance(part, str):
                yield part
            else:
                yield from part._texts()
                yield " "

    def walk(self) -> Iterator[Element]:
        """It and everything in it, in the order of the page."""
        yield self
        for part in self.content:
            if isinstance(part, Element):
                yield from part.walk()

    def every(self, tag: str = "", css: str = "", **attributes: str) -> list[Element]:
        """The elements in it of this tag, class and these attributes (`data_x` means `data-x`)."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            each
            for each in self.walk()
            if (not tag or each.tag == tag)
            and (not css or css in each.attributes.get("class", "").split())
            and all(each.attributes.get(name) == value for name, value in wanted.items())
        ]

    def one(self, tag: str = "", css: str = "", **attributes: str) -> Element:
        """The only such element."""
        found = self.every(tag, css, **attributes)
        assert len(found) == 1, f"{len(found)} of {tag}.{css} {attributes} in {self.text[:500]}"
        return found[0]

    def form(self, action: str) -> dict[str, str]:
        """What a form would send as it stands: its filled and hidden fields, the chosen options."""
        form = self.one("form", action=action)
        sent: dict[str, str] = {}
        for each in form.walk():
            name = each.attributes.get("name", "")
            if each.tag == "input" and name and each.attributes.get("type") not in {"checkbox", "radio", "file"}:
                sent[name] = each.attributes.get("value", "")
            elif each.tag == "input" and name and "checked" in each.attributes:
                sent[name] = each.attributes.get("value", "on")
            elif each.tag == "textarea" and name:
                sent[name] = "".join(part for part in each.content if isinstance(part, str)).removeprefix("\n")
            elif each.tag == "select" and name:
                options = each.every("option")
                chosen = [option for option in options if "selected" in option.attributes] or options[:1]
                sent[name] = chosen[0].attributes.get("value", chosen[0].text) if chosen else ""
        return sent


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute is given twice: {self.get_starttag_text()}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].content.append(element)
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> ends <{self.open[-1].tag}> at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)


def read(html: str) -> Element:
    """The root of a page or of a part of one."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == [reader.root], f"<{reader.open[-1].tag}> is never ended"
    return reader.root
