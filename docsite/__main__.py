"""``python -m docsite``: build the site without a network, and check it."""

import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from docsite.check import dead_links, pages, requests
from docsite.places import ROOT


def _no_network() -> None:
    """Let any attempt to reach another machine fail, here and not at a reader's."""

    def refuse(*_: Any) -> NoReturn:
        raise OSError("the documentation is built without a network")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.getaddrinfo = refuse  # type: ignore[assignment]


def main() -> int:
    """Build into ``build/site``; the exit code."""
    _no_network()
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), strict=True))
    except Abort as error:
        print(f"make docs: {error}", file=sys.stderr)
        return 1
    site = ROOT / "build" / "site"
    wrong = [*requests(site), *dead_links(site)]
    for line in wrong:
        print(f"make docs: {line}", file=sys.stderr)
    print(f"{len(pages(site))} pages, {len(wrong)} faults: {Path(site, 'index.html')}")
    print("with search: python -m http.server -d build/site")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
