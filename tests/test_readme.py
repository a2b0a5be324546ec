"""What the README shows works, and the numbers it quotes are those in results/."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import typer

import purespike as ps
from purespike.cli import app
from purespike.results.vocabulary import percent

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = sorted(ROOT.glob("results/*/evaluation.json"))


FIRST, EXAMPLE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_three_lines_attack_a_shipped_model(monkeypatch, capsys):
    assert len([line for line in FIRST.splitlines() if line.strip()]) == 3
    few = {"attacks": ["fgsm"], "threats": ["adaptive"], "images": 8, "diagnose": 0}
    monkeypatch.setattr(ps, "evaluate", partial(_changed, ps.evaluate, few))
    exec(FIRST, {})
    printed = capsys.readouterr().out
    assert "FGSM (L∞, eps 16/255), adaptive" in printed
    assert printed.split()[-1] == str(ps.zoo.card("digits16-holding").worst_case)


def _changed(evaluate, changes, model, data, **settings):
    assert len(settings["attacks"]) > 2 and settings["eps"] == ["16/255"]
    return evaluate(model, data, **{**settings, **changes})


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    example = EXAMPLE
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    # a run folder as small as can be, in place of the demo's; as few images as show that it works
    folder = tmp_path / "runs" / "demo" / "holding"
    ps.save(
        ps.models.create("resnet14_snn", width=0.02, time_steps=1, in_channels=1),
        folder / "classifier.safetensors",
    )
    ps.save(ps.models.Purifier(width=0.05, time_steps=1, in_channels=1), folder / "purifier.safetensors")
    monkeypatch.chdir(tmp_path)
    assert "steps=20" in example and "images=64" in example
    exec(example.replace("steps=20", "steps=1").replace("images=64", "images=8, max_cost=4"), {})
    printed = capsys.readouterr().out
    assert "of 32" in printed and "| Adaptive" in printed
    for threat in ("undefended", "oblivious", "bpda", "adaptive"):
        assert f"FGSM (L∞, eps 16/255), {threat}: " in printed


def test_every_make_target_it_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *(
            f"docs/{name}.md"
            for name in (
                *("certifying", "defending", "demo", "evaluating", "events", "exporting", "rejecting"),
                *("reproduction", "zoo"),
            )
        ),
        "results/README.md",
    ],
)
def test_every_command_and_option_it_names_exists(page):
    commands = typer.main.get_command(app).commands
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = re.findall(r"(?:^|`)purespike (\w+) ([^#`\n]*)", text, re.MULTILINE)
    assert len(lines) > 2
    for name, arguments in lines:
        command = commands[name]
        if stages := getattr(command, "commands", None):
            command = stages[arguments.split()[0]]
        known = {"--help", *(option for each in command.params for option in each.opts)}
        assert set(re.findall(r"--[a-z-]+", arguments)) <= known, (name, arguments)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_quoted_numbers_are_the_measured_ones(path):
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    clean, eps = evaluation["clean_whole"], evaluation["settings"]["eps"][0]
    rows = [line for line in README.splitlines() if line.startswith(f"| [{path.parent.name}]")]
    assert len(rows) == 1
    # PGD-20 unless the row says otherwise, as of event frames, whose bins are flipped
    name, steps = (re.findall(r"\) \((\w+)-(\d+)\) \|", rows[0]) or [("pgd", "20")])[0]
    pgd = {
        cell["threat"]: cell["score"]["accuracy"]
        for cell in evaluation["cells"]
        if (cell["attack"], cell["settings"].get("steps"), cell["eps"]) == (name.lower(), int(steps), eps)
    }
    quoted = [clean["undefended"]["accuracy"], clean["defended"]["accuracy"]]
    threats = [pgd.get(threat) for threat in ("undefended", "oblivious", "bpda", "adaptive")]
    expected = ["–" if value is None else percent(value) for value in [*quoted, *threats]]
    assert re.findall(r"\| (\d+\.\d|–)(?= )", rows[0]) == expected


def test_its_headline_is_the_mean_of_three_seeds_with_the_spread():
    told = README[README.index("Mean of three seeds") : README.index("A verdict stands beside")]
    expected = []
    for run, threat in (
        ("digits16", "undefended"),
        ("digits16", "adaptive"),
        ("digits16-holding", "adaptive"),
        ("digits16", "oblivious"),
    ):
        values = []
        for seed in (".", "seed1", "seed2"):
            path = ROOT / "results" / run / seed / "evaluation.json"
            evaluation = json.loads(path.read_text(encoding="utf-8"))
            values += [
                cell["score"]["accuracy"]
                for cell in evaluation["cells"]
                if (cell["attack"], cell["threat"], cell["settings"].get("steps")) == ("pgd", threat, 40)
                and cell["eps"] in evaluation["settings"]["eps"]
            ]
        assert len(values) == 3
        expected += [percent(sum(values) / 3), percent(min(values)), percent(max(values))]
    assert re.findall(r"\d+\.\d", told) == expected


def test_the_stronger_attack_it_quotes_is_the_measured_one():
    evaluation = json.loads((ROOT / "results/mnist-small/pgd100/evaluation.json").read_text(encoding="utf-8"))
    (cell,) = evaluation["cells"]
    assert (cell["attack"], cell["threat"], cell["settings"]["steps"]) == ("pgd", "adaptive", 100)
    score = cell["score"]
    quoted = f"{score['accuracy']:.1%} [{score['low']:.1%}, {score['high']:.1%}] of {score['n']} images"
    assert quoted.replace("%", "") in README


def test_the_worst_cases_it_quotes_beside_the_control_are_the_measured_ones():
    rows = json.loads((ROOT / "results/reproduction/holding/result.json").read_text(encoding="utf-8"))["rows"]
    measured = {
        (row["group"], row["method"]): percent(row["cells"]["Worst of all|adaptive"]["mean"])
        for row in rows
        if row["origin"] == "measured"
    }
    told = README[
        README.index("Trained twice as long") : README.index("[docs/defending.md](docs/defending.md) says")
    ]
    assert re.findall(r"\d+\.\d", told) == [
        measured[group, method]
        for group in ("Digits", "CIFAR-10")
        for method in ("holding purifier", "control")
    ]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("results/**/evaluation.json")), ids=lambda path: path.parent.name
)
def test_results_say_where_they_come_from(path):
    provenance = json.loads(path.read_text(encoding="utf-8"))["provenance"]
    assert {"command", "commit", "seed", "hardware", "versions"} <= provenance.keys()
    assert re.fullmatch(r"[0-9a-f]{40}", provenance["commit"])
    assert not provenance["dirty"]
