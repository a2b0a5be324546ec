"""The page of a certification, and its other files."""

from pathlib import Path

from markupsafe import Markup

from purespike.files import write_bytes, write_text
from purespike.reporting.certified import certified_csv, certified_curve, certified_grid
from purespike.reporting.drawing import lay_out, png, svg
from purespike.reporting.facts import origin_facts
from purespike.reporting.html import engine
from purespike.results import Certification


def write_certification(certification: Certification, folder: str | Path) -> Path:
    """Write ``certification.json``, ``.csv``, ``.md`` and ``.html`` and the figure, each atomically.

    Args:
        certification: the certificates.
        folder: folder of the files; made if missing.

    Returns:
        The path of ``certification.html``.
    """
    folder = Path(folder)
    figure = lay_out(certified_curve(certification))
    write_bytes(folder / "figures" / "certified.png", png(figure))
    write_text(folder / "certification.csv", certified_csv(certification))
    write_text(folder / "certification.md", certified_grid(certification).markdown())
    certification.save(folder / "certification.json")
    write_text(folder / "certification.html", render(certification, folder.resolve().name))
    return folder / "certification.html"


def render(certification: Certification, name: str) -> str:
    """The page as HTML.

    Args:
        certification: the certificates.
        name: heading of the page.
    """
    figure = lay_out(certified_curve(certification))
    narrow = lay_out(certified_curve(certification, narrow=True))
    return (
        engine()
        .get_template("certification.html.j2")
        .render(
            name=name,
            certification=certification,
            grid=certified_grid(certification),
            wide=Markup(svg(figure, "certified")),
            narrow=Markup(svg(narrow, "certified-narrow")),
            facts=_facts(certification),
        )
    )


def _facts(certification: Certification) -> list[tuple[str, str]]:
    lines: list[tuple[str, object]] = [*origin_facts(certification.provenance, certification.seed)]
    for name, each in certification.models.items():
        purifier = each.model.purifier
        parts = [*([purifier.text] if purifier else []), each.model.classifier.text]
        notes = ["stochastic"] if each.stochastic else []
        speed = each.images_per_minute
        notes += [f"{speed:.3g} images a minute and process"] if speed else []
        lines.append((name, "; ".join([" + ".join(parts), *notes])))
    lines += [("data", certification.data.text), ("fingerprint", certification.data.fingerprint)]
    return [(name, str(value)) for name, value in lines if value not in (None, "")]
