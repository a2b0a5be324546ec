"""Pages written by hand with measured parts between markers, ``<!-- name -->`` and ``<!-- /name -->``."""

import re

from purespike.errors import InputError


def fill(page: str, name: str, content: str) -> str:
    """The page with ``content`` between the markers of ``name``.

    Raises:
        InputError: the page does not have these markers exactly once, in this order.
    """
    begin, _, end = _split(page, name)
    return f"{begin}\n{content.strip()}\n{end}"


def held(page: str, name: str) -> str:
    """The content between the markers of ``name``; see :func:`fill`."""
    return _split(page, name)[1].strip()


def names(page: str) -> list[str]:
    """The names of all pairs of markers, in their order."""
    return re.findall(r"^<!-- ([\w-]+) -->$", page, re.MULTILINE)


def _split(page: str, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise InputError(f"page: needs the lines {begin} and {end}, once and in this order")
    before, rest = page.split(begin)
    content, after = rest.split(end)
    return before + begin, content, end + after
