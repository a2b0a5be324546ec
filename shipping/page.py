"""The table of shipped models in docs/zoo.md."""

from pathlib import Path


def table() -> str:
    """One row a model: clean accuracy, accuracy by threat model, worst case and verdict, from the cards."""
    import purespike as ps

    threats = ("undefended", "oblivious", "query", "adaptive")
    lines = [
        f"| model | images, L∞ eps | clean | {' | '.join(threats)} | **worst case** | verdict |",
        "|---|---|--:|" + "--:|" * len(threats) + "--:|---|",
    ]
    for name in ps.zoo.list():
        card = ps.zoo.card(name)
        shares = [card.robust.get(threat) for threat in threats]
        cells = ["–" if share is None else f"{share:.1f}" for share in shares]
        worst = card.accuracy("worst_case")
        assert worst is not None and worst.low is not None and worst.high is not None
        lines.append(
            f"| `{name}` | {card.images}, {card.eps_text} | {card.clean_acc:.1f} | {' | '.join(cells)} | "
            f"**{worst.value:.1f}** [{worst.low:.1f}, {worst.high:.1f}] | {card.level} |"
        )
    return "\n".join(lines)


def document(page: Path) -> None:
    """Put the table between the markers of the page."""
    from purespike.files import write_text
    from purespike.reporting.markers import fill

    write_text(page, fill(page.read_text(encoding="utf-8"), "zoo", table()))
