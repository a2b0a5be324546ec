"""Checks of the built site: it asks nobody for anything, and every link inside it leads somewhere."""

import re
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
_STYLES = ("stylesheet", "preconnect", "preload", "prefetch", "dns-prefetch", "icon", "modulepreload")
_IN_CSS = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)")

# hosts of scripts, styles and fonts, from which themes load what they do not bring along
_LIBRARIES = re.compile(r"https?://(?:unpkg|cdn|cdnjs|fonts|polyfill)[\w.-]*/[^\"'\s`)]*")


class Page(HTMLParser):
    """One page: what it loads, where it links, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.classes |= set(given.get("class", "").split())
        if tag in _LOADS and given.get(_LOADS[tag]):
            self.loads.append(given[_LOADS[tag]])
        if tag == "link" and set(given.get("rel", "").split()) & set(_STYLES):
            self.loads.append(given.get("href", ""))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        self.loads += _IN_CSS.findall(given.get("style", ""))


def pages(site: Path) -> dict[Path, Page]:
    """All pages of a site, parsed."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        found[path] = Page()
        found[path].feed(path.read_text(encoding="utf-8"))
    return found


def requests(site: Path) -> Iterator[str]:
    """What pages and style sheets would load from elsewhere."""
    for path, page in pages(site).items():
        for target in page.loads:
            if re.match(r"(https?:)?//", target):
                yield f"{path.relative_to(site)}: loads {target}"
        # the theme would load the library that draws these
        if page.classes & {"mermaid", "arithmatex"}:
            yield f"{path.relative_to(site)}: a diagram or formula that a script from elsewhere draws"
    for path in sorted(site.rglob("*.js")):
        for target in _LIBRARIES.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {target}"
    for path in sorted(site.rglob("*.css")):
        for target in _IN_CSS.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: loads {target}"


def dead_links(site: Path) -> Iterator[str]:
    """Links between pages that lead nowhere; pages that are copies of results are left out."""
    parsed = pages(site)
    for path, page in parsed.items():
        place = path.relative_to(site)
        if place.parts[0] == "repository" and place.name != "index.html":
            continue
        for link in page.links:
            target = urllib.parse.urlsplit(link)
            if target.scheme or target.netloc:
                continue
            inside = urllib.parse.unquote(target.path)
            start = site if inside.startswith("/") else path.parent
            aim = (start / inside.lstrip("/")).resolve() if inside else path
            aim = aim / "index.html" if aim.is_dir() else aim
            if not aim.is_file():
                yield f"{place}: {link}"
            elif aim in parsed and urllib.parse.unquote(target.fragment) not in {"", *parsed[aim].anchors}:
                yield f"{place}: {link} has no such anchor"
