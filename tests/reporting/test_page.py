"""The page stands alone, says what the files say, names what is damaged and leaves out what is not there."""

import dataclasses
import html
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from matplotlib.figure import Figure

from purespike.errors import InputError
from purespike.reporting import drawing, page, section
from purespike.reporting.robustness import robustness_tables
from purespike.results import Evaluation, Samples


@pytest.fixture(autouse=True)
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build every figure but draw a blank one: drawing takes seconds and has tests of its own."""
    monkeypatch.setattr(section, "png", lambda figure: drawing.png(Figure(figsize=(1, 1)), dpi=10))
    monkeypatch.setattr(section, "svg", lambda figure, name: f'<svg class="{name}"></svg>')


class Cells(HTMLParser):
    """Collects the attributes and the text of every ``td`` of the robustness table, and all links."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[tuple[dict[str, str | None], list[str]]] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "href", "xlink:href", "srcset", "data")
        self.links += [value or "" for name, value in attrs if name in names]
        if tag == "td" and dict(attrs).get("data-threat"):
            self.cells.append((dict(attrs), []))
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "td"

    def handle_data(self, data: str) -> None:
        if self.inside and data.strip():
            self.cells[-1][1].append(data.strip())


def written(run: Path) -> str:
    return page.write_report(run).read_text(encoding="utf-8")


def parsed(run: Path) -> Cells:
    cells = Cells()
    cells.feed(written(run))
    return cells


def replace_evaluation(run: Path, value: Any) -> None:
    (run / "evaluation.json").write_text(json.dumps(value), encoding="utf-8")


def test_every_robust_number_carries_eps_and_threat(run: Path, evaluation: Evaluation) -> None:
    shown = parsed(run).cells
    wanted = [
        (row, threat, entry)
        for number, table in enumerate(robustness_tables(evaluation))
        for row in table.rows[min(number, 1) :]
        for threat, entry in row.robust.items()
        if entry
    ]
    assert len(shown) == len(wanted) > 30
    for (attributes, texts), (row, threat, entry) in zip(shown, wanted, strict=True):
        assert attributes["data-threat"] == threat
        assert attributes["data-condition"] == row.condition
        assert row.kind == "clean" or re.search(r"eps \d+/255|no eps bound|σ", row.condition)
        assert attributes["title"] == entry.description
        assert texts[:2] == [entry.text, entry.interval]


def test_page_stands_alone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "svg", drawing.svg)
    shown, text = parsed(run), written(run)
    assert any(link.startswith("data:image/png;base64,") for link in shown.links)
    names = re.findall(r' id="([^"]*)"', text)
    assert len(names) == len(set(names))
    inside = [link for link in shown.links if not link.startswith("data:image/png;base64,")]
    inside += re.findall(r"url\((.*?)\)", text)
    # whatever else is referred to is on the page itself
    assert inside and {link.removeprefix("#") for link in inside} <= set(names)
    assert shown.tags.count("svg") == 10 and not {"script", "link", "iframe", "img"} & set(shown.tags)
    assert "@import" not in text and "http" not in text.replace("http://www.w3.org/", "")


def test_figures_are_written_beside_the_page(run: Path) -> None:
    text = written(run)
    names = ("accuracy_curve", "firing_rates", "samples", "training_curves", "waterfall")
    files = {path.name: path.read_bytes() for path in (run / "figures").iterdir()}
    assert set(files) == {f"{name}.png" for name in (*names, "robustness")}
    for content in files.values():
        PIL.Image.open(io.BytesIO(content)).verify()
    for name in names:
        assert f'<svg class="{name}"></svg>' in text and f'<svg class="{name}-narrow"></svg>' in text


def test_what_was_run_is_on_the_page(run: Path) -> None:
    text = written(run)
    for part in (
        "recipes/digits.yaml --seed 7",
        "3f2a9c1d",
        "uncommitted changes",
        "AMD EPYC 7763",
        "torch 2.13.0",
    ):
        assert part in text
    assert "neuron.decay" in text and "0.6, 1.6, 2.6" in text and "9d2c54f1a0b37e68" in text


def test_components_are_on_the_page(run: Path, content: dict[str, Any]) -> None:
    text = written(run)
    for cell in content["cells"]:
        if cell.get("components") and cell["eps"] in content["settings"]["eps"]:
            assert all(f"<span>{part['broken']}</span>" in text for part in cell["components"])


def finding(level: str, number: int) -> dict[str, Any]:
    words = ("name", "group", "seen", "advice", "source")
    return {"level": level, **{word: f"{word} of finding {number}" for word in words}}


def part_of(text: str, name: str) -> str:
    """The visible words of a section of the page, each run of blanks one blank."""
    (inside,) = re.findall(rf'<section id="{name}">(.*?)</section>', text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", inside)).split())


def test_diagnostics_are_on_the_page(run: Path, content: dict[str, Any]) -> None:
    assert 'id="diagnostics"' not in written(run)
    levels = ("reliable", "suspicious", "unreliable")
    content["diagnostics"] = [finding(level, number) for number, level in enumerate(levels)]
    content["diagnostics"][0]["advice"] = ""
    replace_evaluation(run, content)
    shown = part_of(written(run), "diagnostics")
    for number, level in enumerate(levels):
        advice = f"advice of finding {number} " if number else ""
        assert (
            f"name of finding {number} group of finding {number} {level} seen of finding {number} "
            f"{advice}source of finding {number}"
        ) in shown


def test_warnings_of_attacks_are_on_the_page(run: Path, content: dict[str, Any]) -> None:
    assert "warned" not in written(run)
    cell = next(c for c in content["cells"] if c["attack"] == "pgd" and c["threat"] == "bpda")
    cell |= {"attack": "autoattack_rand", "warnings": ["FAB <left> out", "Square stalled"]}
    replace_evaluation(run, content)
    shown = part_of(written(run), "diagnostics")
    for line in cell["warnings"]:
        assert f"AutoAttack (rand) L∞, eps {round(255 * cell['eps'])}/255 bpda {line}" in shown


def test_escalated_budgets_and_passes_are_on_the_page(run: Path, content: dict[str, Any]) -> None:
    eps = content["settings"]["eps"][0]
    first = next(
        c for c in content["cells"] if (c["attack"], c["threat"], c["eps"]) == ("pgd", "adaptive", eps)
    )
    more = {"settings": {"steps": 40}, "raised_from": 20, "passes": 10, "pass_accuracy": 0.113}
    content["cells"].append({**first, **more})
    replace_evaluation(run, content)
    text = written(run)
    assert "PGD-40 L∞, eps 16/255 raised from 20 steps" in part_of(text, "robustness")
    assert "11.3 a pass" in part_of(text, "robustness") and "majority of 10 passes" in text
    assert "PGD-40 raised from 20 steps" in part_of(text, "components")
    assert "starts from the images that were robust to the attack before it" in part_of(text, "components")


def test_routes_of_other_attackers_are_on_the_page(run: Path, content: dict[str, Any]) -> None:
    cell = next(c for c in content["cells"] if c["attack"] == "pgd" and c["eps"] == 16 / 255)
    parts = [
        {"surrogate": name, "loss": "own", "attacked": 300, "broken": broken}
        for name, broken in (("resnet14-seed2", 17), ("wideresnet", 19))
    ]
    content["cells"] += [{**cell, "threat": "transfer", "components": parts}]
    content["worst_case"] = []
    replace_evaluation(run, content)
    text = written(run)
    shown = part_of(text, "components")
    assert "single transfer attack broke, L∞, eps 16/255" in shown
    assert "Substitute Loss PGD-20 resnet14-seed2 own 17 wideresnet own 19" in shown
    # the column stands in the table of all threat models
    assert "Transfer attack on a substitute" in part_of(text, "robustness")


def test_routes_that_broke_nothing_are_marked_and_counted(run: Path, content: dict[str, Any]) -> None:
    cell = next(c for c in content["cells"] if c["attack"] == "pgd" and c["eps"] == 16 / 255)
    parts = [
        {"surrogate": name, "loss": "own", "attacked": 300, "broken": broken}
        for name, broken in (("resnet14-seed2", 17), ("wideresnet", 0), ("vgg11", 0))
    ]
    content["cells"] += [{**cell, "threat": "transfer", "components": parts}]
    content["worst_case"] = []
    replace_evaluation(run, content)
    text = written(run)
    assert text.count('<tr class="idle">') == 2
    assert "On paper without 2 that broke none." in part_of(text, "components")


def test_an_l2_evaluation_has_a_whole_page(run: Path, content: dict[str, Any]) -> None:
    sizes = {8 / 255: 0.5, 16 / 255: 1.0}
    for one in content["cells"] + content["worst_case"]:
        if one["eps"]:
            one["eps"] = sizes.get(one["eps"], 16 * one["eps"])
        if one.get("norm") == "linf":
            one["norm"] = "l2"
    content["settings"] |= {"norm": "l2", "eps": [1.0, 0.5]}
    replace_evaluation(run, content)
    text = written(run)
    assert "L2, eps 0.5" in part_of(text, "robustness") and "L∞" not in part_of(text, "robustness")
    assert "Left out" not in part_of(text, "curve") + part_of(text, "waterfall")


def test_everything_from_files_is_escaped(run: Path, content: dict[str, Any], samples: Samples) -> None:
    bad = "<script>alert(1)</script>"
    content["data"]["source"] = content["cells"][0]["attack"] = bad
    content["provenance"]["command"] = content["quality"][0]["images"] = bad
    content["model"]["classifier"]["architecture"] = bad
    content["cells"][3]["components"][0]["surrogate"] = bad
    content["verdict"] = {"level": "suspicious", "reasons": [bad]}
    content["diagnostics"] = [finding("suspicious", 0) | {"seen": bad, "source": bad}]
    content["cells"][0]["warnings"] = [bad]
    replace_evaluation(run, content)
    (run / "recipe.yaml").write_text(f"'{bad}': '{bad}'\n", encoding="utf-8")
    dataclasses.replace(samples, class_names=(bad,) * 10, caption=bad).save(run / "samples.npz")
    text = written(run)
    assert "<script" not in text and html.escape(bad) in text


@pytest.mark.parametrize("name", ["history.jsonl", "samples.npz", "recipe.yaml"])
def test_a_damaged_part_is_named(run: Path, name: str) -> None:
    (run / name).write_bytes(b"]: \xff{")
    text = written(run)
    assert re.search(rf'class="absent">Left out: [^<]*{re.escape(name)}', text)
    assert 'class="robustness"' in text


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("history.jsonl", ["Firing rates", "Training"]),
        ("samples.npz", ["What the purifier does to an image"]),
        ("recipe.yaml", ["Recipe"]),
    ],
)
def test_what_a_missing_file_would_show_is_not_on_the_page(run: Path, name: str, heads: list[str]) -> None:
    before = re.findall(r"<h[23]>(.*?)</h[23]>", written(run))
    (run / name).unlink()
    text = written(run)
    assert re.findall(r"<h[23]>(.*?)</h[23]>", text) == [head for head in before if head not in heads]
    assert len(before) == len(set(before)) and set(heads) < set(before)
    assert "Left out" not in text and name not in text


def test_a_curve_needs_two_sizes_of_eps(run: Path, content: dict[str, Any]) -> None:
    content["cells"] = [cell for cell in content["cells"] if cell["eps"] in (None, 16 / 255)]
    content["worst_case"] = [case for case in content["worst_case"] if case["eps"] == 16 / 255]
    content["settings"] = {"eps": [16 / 255]}
    assert 'id="curve"' in written(run)
    replace_evaluation(run, content)
    assert 'id="curve"' not in written(run) and 'id="waterfall"' in written(run)


def test_environment_stands_in_for_provenance(run: Path, content: dict[str, Any]) -> None:
    del content["provenance"]
    replace_evaluation(run, content)
    assert "AMD EPYC 7763" in written(run)
    (run / "environment.json").write_text("{", encoding="utf-8")
    assert "environment.json" in written(run)
    (run / "environment.json").unlink()
    assert "environment.json" not in written(run) and "Left out" not in written(run)


def test_classifier_alone_with_nothing_else(run: Path, classifier_only: Evaluation) -> None:
    classifier_only.save(run / "evaluation.json")
    for name in ("history.jsonl", "samples.npz", "recipe.yaml", "environment.json"):
        (run / name).unlink()
    shown = parsed(run)
    assert {attributes["data-threat"] for attributes, _ in shown.cells} == {"undefended"}
    text = written(run)
    names = re.findall(r'<section id="(.*?)">', text)
    assert names == ["robustness", "waterfall", "curve", "threats", "run", "cost"]
    assert "no purifier was evaluated" in text and "Left out" not in text


def test_writing_again_changes_nothing(run: Path) -> None:
    assert written(run) == written(run)
    assert not list(run.rglob("*.part"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "not JSON"),
        ("[]", "expected a JSON mapping"),
        ('{"schema": 1}', "malformed evaluation: model: is missing"),
    ],
)
def test_unusable_evaluation_is_one_clear_line(run: Path, content: str | None, message: str) -> None:
    (run / "evaluation.json").unlink()
    if content is not None:
        (run / "evaluation.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        page.write_report(run)
    assert "evaluation.json" in str(caught.value) and "\n" not in str(caught.value)
    assert not (run / "report.html").exists()


def test_missing_run_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run folder"):
        page.write_report(tmp_path / "nowhere")


def test_tables_load_neither_torch_nor_matplotlib() -> None:
    # a bare parent package, so that only what reporting itself imports is seen
    code = (
        "import sys, types; parent = types.ModuleType('purespike'); parent.__path__ = [sys.argv[1]]; "
        "sys.modules['purespike'] = parent; import purespike.reporting.tables; "
        "print(sorted(sys.modules.keys() & {'torch', 'matplotlib', 'jinja2'}))"
    )
    folder = str(Path(page.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_number_that_was_not_examined_says_so(run: Path, content: dict[str, Any]) -> None:
    assert "verdict" not in content
    assert '<div class="verdict not-examined"><strong>Evaluation not examined</strong>' in written(run)


def test_a_verdict_is_at_the_head_of_the_page(run: Path, content: dict[str, Any]) -> None:
    content["verdict"] = {"level": "unreliable", "reasons": ["gradients are zero"]}
    replace_evaluation(run, content)
    assert '<div class="verdict unreliable"><strong>Evaluation unreliable</strong>' in written(run)
    assert "<li>gradients are zero</li>" in written(run)
