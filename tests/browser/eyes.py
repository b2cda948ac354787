"""A page in a browser, and what must never happen on one: errors, foreign requests, broken policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

SERIOUS = ("serious", "critical")


@dataclass
class Eyes:
    """Looks at one server; everything that was asked for and every complaint is kept."""

    url: str
    context: Any
    page: Any
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, browser: Any, url: str, **context: Any) -> Eyes:
        made = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        eyes = cls(url, made, made.new_page())
        eyes.page.on("request", lambda request: eyes.asked.append(request.url))
        eyes.page.on("pageerror", lambda error: eyes.complaints.append(str(error)))
        eyes.page.on("console", eyes._listen)
        return eyes

    def _listen(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def go(self, path: str) -> Any:
        answer = self.page.goto(f"{self.url}{path}", wait_until="load")
        assert answer.ok, (path, answer.status)
        return self.page

    def close(self) -> None:
        self.context.close()
        assert not self.complaints, self.complaints
        strangers = [url for url in self.asked if not self._ours(url)]
        assert not strangers, strangers

    def _ours(self, url: str) -> bool:
        there, here = urlsplit(url), urlsplit(self.url)
        return there.scheme in ("data", "blob") or there[:2] == here[:2]

    def faults(self) -> list[str]:
        """Return what axe-core finds serious; its script is evaluated, not loaded by the page."""
        self.page.evaluate(axe())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{v['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
            for v in found["violations"]
            if v["impact"] in SERIOUS
            for node in v["nodes"][:3]
        ]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return self.page.evaluate(
            "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
        )


def axe() -> str:
    """Return the source of axe-core, as its package carries it."""
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
