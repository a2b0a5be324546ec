"""Where links of the documentation lead: pages of the site, copies of files, or lists of folders."""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages of the repository that the site has under another name."""
COPIED = {
    ".html",
    ".png",
    ".svg",
    ".json",
    ".jsonl",
    ".csv",
    ".tex",
    ".yaml",
    ".cff",
    ".npz",
    ".py",
    ".ipynb",
    ".txt",
}
"""Files that the site holds copies of, below ``repository/``."""
_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def links(markdown: str) -> list[str]:
    """Targets of all links and pictures of a page, without those in code."""
    return [match[2] for match in _LINK.finditer(_CODE.sub("", markdown))]


def rewrite(markdown: str, change: Callable[[str], str]) -> str:
    """A page with the target of every link changed; code is left alone."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        # a link may hold code, whose place a word takes meanwhile
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    text = _CODE.sub(keep, markdown)
    text = _LINK.sub(lambda match: f"{match[1]}{change(match[2])}{match[3]}", text)
    return re.sub(r"\0(\d+)\0", lambda match: kept[int(match[1])], text)


def external(target: str) -> bool:
    """Whether a link leaves the repository, or stays on its page."""
    return bool(re.match(r"[a-z][a-z0-9+.-]*:", target)) or target.startswith("#")


def place_of(target: str, *, page: str) -> tuple[str, str]:
    """Path in the repository that a link leads to, and its fragment with ``#``.

    Args:
        target: target of a link inside the repository.
        page: path of its page in the repository.
    """
    path, mark, fragment = target.partition("#")
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path)), mark + fragment


def site_place(path: str) -> str:
    """Path below the site's pages of a file or folder of the repository."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in ("docs", "."):
        return "index.md"
    if (ROOT / path).is_dir():
        return f"repository/{path}/index.md"
    if path.endswith(".md"):
        return f"repository/{path}"
    return f"repository/{path}"


def relative(path: str, *, page: str) -> str:
    """``path`` as seen from ``page``, both below the site's pages."""
    return posixpath.relpath(path, posixpath.dirname(page) or ".")
