"""The reference of recipes as a page of Markdown."""

from collections.abc import Iterable

from purespike.reference.entry import Chapter, Key
from purespike.reference.find import chapters
from purespike.reference.sections import sections


def recipe_page() -> str:
    """Every key of a recipe, and everything that recipes name with its settings; imports PyTorch."""
    own = sections()
    parts = [f"## {own.title}", own.about]
    for topic in own.topics:
        parts += [f"### `{topic.name}`", topic.about, _table(topic.keys, others=True)]
    parts += ["## When epochs, image size or data change", _scaling(own)]
    for chapter in chapters():
        parts += [f"## {chapter.title}", chapter.about, *_members(chapter)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _members(chapter: Chapter) -> Iterable[str]:
    """The topics of a chapter: a table where none has settings, else one after the other."""
    if not any(topic.keys for topic in chapter.topics):
        rows = [f"| `{topic.name}` | {_cell(topic.about)} |" for topic in chapter.topics]
        return ["\n".join(["| name | |", "|---|---|", *rows])]
    found: list[str] = []
    for topic in chapter.topics:
        found += [f"### `{topic.name}`", topic.about, _table(topic.keys)]
    return found


def _table(keys: Iterable[Key], *, others: bool = False) -> str:
    keys = list(keys)
    if not keys:
        return "*No settings.*"
    lines = ["| key | type | default | range | meaning |", "|---|---|---|---|---|"]
    for key in keys:
        name = key.place if not others else key.place.partition(".")[2] or key.place
        also = f" Also `{'`, `'.join(key.others)}`." if key.others else ""
        meaning = f"{key.about}{also}" + (f" *Elsewhere:* {key.scaling}" if key.scaling else "")
        default = f"`{_cell(key.default)}`" if key.default else "" if not key.kind else "*needed*"
        cells = (f"`{name}`", _cell(key.kind), default, key.limits, _cell(meaning))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _scaling(chapter: Chapter) -> str:
    lines = ["| key | default | then |", "|---|---|---|"]
    for topic in chapter.topics:
        lines += [
            f"| `{key.place}` | `{_cell(key.default)}` | {_cell(key.scaling)} |"
            for key in topic.keys
            if key.scaling
        ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    # a bar in code ends a cell too
    return text.replace("|", "\\|").replace("\n", " ")
