"""What a page is made of, as far as tests ask: elements, words, links, and whether it is sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx2

LINKS = ("href", "src", "action", "formaction", "poster")


@dataclass
class PageReader(HTMLParser):
    """Collects elements and words of a page."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    inline_scripts: list[str] = field(default_factory=list)
    _inside: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside == "script" and data.strip():
            self.inline_scripts.append(data)
        self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def links(self) -> list[str]:
        return [a[name] for _, a in self.elements for name in LINKS if name in a]

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [a for t, a in self.elements if t == tag and wanted.items() <= a.items()]


def read(answer: httpx2.Response) -> PageReader:
    """Return a page that is sound: nothing that runs or loads but our own files."""
    assert answer.headers["content-type"].startswith("text/html"), answer.text[:300]
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    page = PageReader()
    page.feed(answer.text)
    page.close()
    assert not page.inline_scripts
    for tag, attributes in page.elements:
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        if tag in ("script", "link", "img", "video"):
            source = attributes.get("src") or attributes.get("href") or ""
            assert source.startswith(("/static/", "/v1/")), (tag, attributes)
    for link in page.links():
        assert link.startswith(("/", "#", "?")), link
        assert not link.startswith("//"), link
    return page
