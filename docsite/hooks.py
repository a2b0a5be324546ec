"""What MkDocs is told besides the pages of ``docs/``: generated pages, and links that leave them."""

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from docsite import api, commands, notebook
from docsite.places import COPIED, PAGES, ROOT, external, place_of, relative, rewrite, site_place
from purespike.reference import recipe_page

REFERENCE = "<!-- recipe reference -->"
"""In a page, the place of the generated reference of recipes."""
_SOURCES: dict[str, str] = {}
# pages of the site, and the paths in the repository that their links are relative to


def on_config(config: Any) -> Any:
    """Leave out of the navigation what is not there yet, and add what it does not name."""
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    made = {"commands.md", "api/index.md", *PAGES.values(), *map(api.name, api.MODULES), *_notebooks()}
    named: set[str] = set()
    config["nav"] = _present(config["nav"], there | made, named)
    _put(config["nav"], "api/index.md", ["api/index.md", *({each: api.name(each)} for each in api.MODULES)])
    if more := sorted(there - named - {"index.md"}):
        config["nav"].append({"More": more})
    return config


def _notebooks() -> list[str]:
    return [f"examples/{path.stem}.md" for path in sorted((ROOT / "examples").glob("*.ipynb"))]


def _present(entries: list[Any], known: set[str], named: set[str]) -> list[Any]:
    """The entries of a navigation whose pages exist, in ``named`` too."""
    found = []
    for entry in entries:
        (title, value) = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(value, list):
            if inner := _present(value, known, named):
                found.append({title: inner})
        elif value in known:
            named.add(value)
            found.append(entry)
    return found


def _put(entries: list[Any], page: str, pages: list[Any]) -> None:
    """Let a page of the navigation be a section of several."""
    for entry in entries:
        for title, value in entry.items() if isinstance(entry, dict) else ():
            if value == page:
                entry[title] = pages
            elif isinstance(value, list):
                _put(value, page, pages)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and those of the repository's root."""
    _SOURCES.clear()
    for path in sorted((ROOT / "docs").rglob("*.md")):
        _SOURCES[path.relative_to(ROOT / "docs").as_posix()] = path.relative_to(ROOT).as_posix()
    for source, name in PAGES.items():
        _page(files, config, name, (ROOT / source).read_text(encoding="utf-8"), source)
    _page(files, config, "commands.md", commands.page(), "")
    _page(files, config, "api/index.md", api.index(), "")
    for module in api.MODULES:
        _page(files, config, api.name(module), api.page(module), "")
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        text, pictures = notebook.page(path)
        _page(files, config, f"examples/{path.stem}.md", text, f"examples/{path.name}")
        for name, content in pictures.items():
            files.append(File.generated(config, f"examples/{name}", content=content))
    pending = [place for place in _SOURCES.values() if place]
    while pending:
        pending += _follow(files, config, pending.pop())
    return files


def _page(files: Files, config: Any, name: str, text: str, source: str) -> None:
    files.append(File.generated(config, name, content=text))
    _SOURCES[name] = source


def _follow(files: Files, config: Any, source: str) -> list[str]:
    """Add the files and folders of the repository that a page links to; returns pages among them."""
    from docsite.places import links

    if not source.endswith(".md"):
        return []
    text = (ROOT / source).read_text(encoding="utf-8")
    added: list[str] = []
    for target in links(text):
        if external(target):
            continue
        path, _ = place_of(target, page=source)
        name = site_place(path)
        if path.startswith("docs/") or path in PAGES or files.get_file_from_path(name) is not None:
            continue
        added += _add(files, config, path, name)
    return added


def _add(files: Files, config: Any, path: str, name: str) -> list[str]:
    place = ROOT / path
    if place.is_dir():
        if (place / "README.md").is_file():
            _page(files, config, name, (place / "README.md").read_text(encoding="utf-8"), f"{path}/README.md")
            return [f"{path}/README.md"]
        _page(files, config, name, _listing(files, config, place, path), "")
    elif place.suffix == ".md":
        _page(files, config, name, place.read_text(encoding="utf-8"), path)
        return [path]
    elif place.is_file():
        _copy(files, config, path)
    return []


def _copy(files: Files, config: Any, path: str) -> None:
    name = f"repository/{path}"
    if files.get_file_from_path(name) is None:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))


def _listing(files: Files, config: Any, folder: Path, path: str) -> str:
    """A page that lists a folder of the repository, with copies of what can be looked at."""
    lines = [f"# {path}/", ""]
    for inner in sorted(folder.iterdir(), key=lambda each: (each.name != "report.html", each.name)):
        if inner.name.startswith((".", "__")) or inner.name == "checkpoint":
            continue
        if inner.is_file() and inner.suffix in COPIED:
            _copy(files, config, f"{path}/{inner.name}")
            lines.append(f"- [{inner.name}]({inner.name})")
        else:
            lines.append(f"- {inner.name}{'/' if inner.is_dir() else ''}")
    return "\n".join(lines) + "\n"


def on_post_build(config: Any) -> None:
    """Let the theme's script load nothing from elsewhere: libraries for diagrams, and for old browsers."""
    for path in Path(config["site_dir"]).rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        if "https://unpkg.com/" in text:
            path.write_text(text.replace("https://unpkg.com/", "not-here/"), encoding="utf-8")


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Put in the reference, and lead links to the site's own places."""
    name = page.file.src_uri
    if REFERENCE in markdown:
        markdown = markdown.replace(REFERENCE, recipe_page())
    source = _SOURCES.get(name, "")
    if not source:
        return markdown

    def change(target: str) -> str:
        if external(target):
            return target
        path, fragment = place_of(target, page=source)
        if (
            path == f"{source.rpartition('/')[0]}/{target}"
            and path.endswith(".png")
            and source.endswith(".ipynb")
        ):
            return target
        return relative(site_place(path), page=name) + fragment

    return rewrite(markdown, change)
