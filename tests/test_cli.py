"""The commands, called as the shell calls them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from reproduction.tiny import TINY
from torch import nn
from training.tiny import finished, outcomes, write_recipe

import purespike
from purespike.reporting import section
from purespike.tensors import read_tensors, write_tensors


def test_the_classifier_has_no_classifier_to_defend(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "--classifier" not in call("train", "classifier", "--help")


def test_the_version(call):
    assert call("--version") == f"purespike {purespike.__version__}\n"


REGISTRIES = """
import json

from purespike.attacks import list_attacks
from purespike.attacks.objective import OBJECTIVES
from purespike.ball import Ball
from purespike.data.sources import _SOURCES, SPLITS
from purespike.evaluation.plan import SUITES
from purespike.neurons import Surrogate
from purespike.rejection import SCORES
from purespike.reproduction import EXPERIMENTS, SCALES
from purespike.training.engine import DEVICES

known = {
    "SUITES": SUITES, "ATTACKS": list_attacks(), "SCORES": SCORES, "SURROGATES": Surrogate.known,
    "LOSSES": OBJECTIVES, "DEVICES": DEVICES, "NORMS": Ball.known, "SPLITS": SPLITS,
    "EXPERIMENTS": EXPERIMENTS, "SCALES": SCALES,
    "SOURCES": [form or name for name, (_, form) in _SOURCES.items()],
}
print(json.dumps({name: list(values) for name, values in known.items()}))
"""


def test_names_of_the_shell_are_those_of_the_registries():
    """In a fresh process: other tests register attacks, sources and surrogates of their own."""
    from purespike.cli import names
    from purespike.results.vocabulary import THREATS

    fresh = subprocess.run([sys.executable, "-c", REGISTRIES], capture_output=True, text=True, check=True)
    for name, known in json.loads(fresh.stdout).items():
        offered = list(getattr(names, name))
        assert sorted(offered) == sorted(known), name
        # help and errors list them in this order
        assert offered == known or name not in ("DEVICES", "SPLITS", "EXPERIMENTS", "SCALES"), name
    assert set(names.THREATS) <= set(THREATS)


@pytest.mark.parametrize(
    ("option", "typed", "offered"),
    [
        ("suite", "st", ["standard"]),
        ("attacks", "fgsm,sq", ["fgsm,square"]),
        ("threats", "und", ["undefended"]),
        ("score", "noise_m", ["noise_max", "noise_mean"]),
        ("data", "cifar1", ["cifar10", "cifar100"]),
    ],
)
def test_the_shell_completes_values(option, typed, offered):
    from purespike.cli.names import completion

    assert completion(option)(typed) == offered


MISTYPED = {
    "evaluate run --suite standrd": "did you mean 'standard'",
    "evaluate run --attacks fgms": "did you mean 'fgsm'",
    "evaluate run --threat oblivius": "did you mean 'oblivious'",
    "evaluate run --eps 8": "write 8/255, not 8",
    "evaluate run --ep 8/255": "No such option: --ep (Possible options: --eot, --eps, ",
    "evaluate run --images many": "Invalid value for '--images'",
    "evaluate run again": "unexpected extra argument(s) (again); see purespike evaluate --help",
    "evaluate nosuch": "nosuch: no such checkpoint",
    "evaluate run --norm l3": "did you mean 'l2'",
    "evaluate run --split tst": "did you mean 'test'",
    "evaluate . --purifier nosuch": "nosuch: no such checkpoint",
    "evaluate . --data mnits": "did you mean 'mnist'",
    "certify . --n 9": "n: 9 draws certify nothing at alpha 0.001, even if all agree; give at least 10",
    "certify . --sigma 64": "sigma: must be positive and at most 10 in pixel units",
    "certify . --alpha 2": "alpha: Input should be less than 0.5",
    "certify . --compare b=nosuch": "nosuch: no such checkpoint",
    "certify nosuch": "nosuch: no such checkpoint",
    "certify . --data mnits": "did you mean 'mnist'",
    "transfer --substitute a=. --target b=nosuch": "nosuch: no such checkpoint",
    "purify --model nosuch in out": "nosuch: no such checkpoint",
    "reject . --score noise_men": "did you mean 'noise_mean'",
    "reject nosuch --score noise_mean": "nosuch: no such checkpoint",
    "reject . --calibrate-on tran": "did you mean 'train'",
    "info nosuch": "nosuch: no such checkpoint",
    "run nosuch.yaml": "nosuch.yaml: no such file",
    "run tiny.yaml --set data.source=mnits": "did you mean 'mnist'",
    "train classifier tiny.yaml --set classifier.epoch=5": "did you mean 'classifier.epochs'",
    "train purifier tiny.yaml --classifier nosuch": "nosuch: no such checkpoint",
    "reproduce table9": "did you mean 'table4'",
    "reproduce table1 --scale cp": "did you mean 'cpu'",
    "evaluate zoo:digits16 --surrogates rectangl": "unknown surrogate 'rectangl': did you mean 'rectangle'?",
    "evaluate zoo:digits16 --losses foo": "unknown attack loss 'foo': known: ce, margin",
    "evaluate zoo:digits16 --device cuuda": "unknown device 'cuuda': did you mean 'cuda'?",
}


def test_a_typo_is_answered_before_torch_is_imported(tmp_path):
    write_recipe(tmp_path / "tiny.yaml")
    program = (
        "import sys, purespike.cli as cli\n"
        f"for line in {list(MISTYPED)!r}:\n"
        "    sys.argv = ['purespike', *line.split()]\n"
        "    try:\n        cli.main()\n"
        "    except SystemExit as stop:\n        assert stop.code == 2\n"
        "    assert 'torch' not in sys.modules, line"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line, says in zip(done.stderr.splitlines(), MISTYPED.values(), strict=True):
        assert says in line


def test_the_command_line_is_light():
    """`purespike --help` must not take the seconds that importing PyTorch takes."""
    program = "import sys, purespike.cli; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "accelerate", "matplotlib"}.isdisjoint(done.stdout.split())


def test_train_then_run_is_one_run(call, tmp_path):
    path = write_recipe(tmp_path / "tiny.yaml")
    printed = call("train", "classifier", path, "--out", tmp_path / "run", "--device", "cpu")
    assert printed == f"classifier: {tmp_path}/run/classifier.safetensors\n"
    assert not (tmp_path / "run" / "purifier.safetensors").exists()
    printed = call("run", path, "--out", tmp_path / "run", "--device", "cpu")
    assert f"report: {tmp_path}/run/report.html" in printed
    assert outcomes(tmp_path / "run") == outcomes(finished())
    for threat in ("ndefended", "blivious", "BPDA", "daptive"):
        assert threat in printed, "no number without its threat model"


@pytest.fixture
def blank(monkeypatch):
    """No figure is drawn, which takes seconds."""
    monkeypatch.setattr(section, "png", lambda figure: b"")
    monkeypatch.setattr(section, "svg", lambda figure, name: f"<svg {name}>")


@pytest.mark.usefixtures("blank")
def test_runs_beside_are_in_the_console_and_the_page(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished(), "runs/tiny")
    shutil.copytree(finished(), "paper")
    path = write_recipe(tmp_path / "tiny.yaml")
    few = ("--device", "cpu", "--beside", "paper", "--beside", "again=paper")
    printed = call("run", path, *few)
    table = printed[printed.index("on the same 20 digits test images") :]
    for name in ("bare classifier", "paper", "again", "tiny", "this report", "adaptive", "undefended"):
        assert name in table
    assert table.splitlines()[-1] == "report: runs/tiny/report.html"
    assert (tmp_path / "runs/tiny/comparison.md").read_text().count("|\n") == 6
    with pytest.raises(AssertionError, match=r"--beside runs/tiny: is the folder of this report itself"):
        call("run", path, "--beside", "runs/tiny")
    for out in ("new", "runs/tiny"):
        with pytest.raises(AssertionError, match=r"error: --beside nowhere: no such folder"):
            call("run", path, "--beside", "nowhere", "--out", out)
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("blank")
def test_an_evaluation_beside_a_run(call, tmp_path):
    few = ("--attacks", "fgsm", "--threat", "undefended,adaptive", "--diagnose", 0, "--device", "cpu")
    run = finished()
    place = ("evaluate", run, *few, "--eps", "16/255", "--seed", 3, "--images", 6, "--beside")
    call(*place[:-1], "--out", tmp_path / "first")
    printed = call(*place, tmp_path / "first", "--name", "mine", "--out", tmp_path / "out")
    assert "on the same 6 digits test images" in printed and "mine" in printed
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [each["name"] for each in content["models"]] == ["bare classifier", "first", "mine"]
    assert content["models"][1]["worst"] == content["models"][2]["worst"]
    with pytest.raises(AssertionError, match="was measured on 20 digits test images, this one on 6 digits"):
        call(*place, f"whole={run}", "--out", tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_the_default_folder_is_named_after_the_recipe(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_recipe(tmp_path / "tiny.yaml", classifier={"epochs": 1})
    call("train", "classifier", path, "--set", "classifier.width=0.04", "--seed", 8, "--device", "cpu")
    written = (tmp_path / "runs" / "tiny" / "recipe.yaml").read_text()
    assert "width: 0.04" in written and "seed: 8" in written


def test_a_purifier_for_a_classifier_of_ones_own(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_classifier.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n    torch.manual_seed(0)\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))\n"
    )
    path = write_recipe(tmp_path / "tiny.yaml", purifier={"epochs": 1})
    own = "own_classifier:net"
    call("train", "purifier", path, "--classifier", own, "--out", "run", "--device", "cpu")
    assert not (tmp_path / "run" / "classifier.safetensors").exists()
    printed = call(
        *("evaluate", own, "--purifier", "run/purifier.safetensors", "--attacks", "fgsm", "--images", 6),
        *("--threat", "oblivious,adaptive", "--out", "found", "--device", "cpu"),
    )
    assert "FGSM" in printed and printed.count("VERDICT: ") == 1
    content = json.loads((tmp_path / "found" / "evaluation.json").read_text())
    assert content["model"]["classifier"]["architecture"] == "Sequential"
    assert content["model"]["purifier"]["architecture"] == "purifier"
    assert [cell["threat"] for cell in content["cells"]] == ["undefended", "oblivious", "adaptive"]
    assert (tmp_path / "found" / "report.html").exists() and (
        tmp_path / "found" / "environment.json"
    ).exists()


def test_evaluate_without_a_purifier_says_so(call):
    printed = call(
        *(
            "evaluate",
            finished() / "classifier.safetensors",
            "--attacks",
            "fgsm",
            "--images",
            5,
            "--device",
            "cpu",
        )
    )
    assert "No purifier: give one with --purifier" in printed


def test_evaluate_attacks_the_run_s_own_images(call, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    for split in ("train", "test"):
        np.savez(tmp_path / f"mine-{split}.npz", x=pictures, y=np.arange(8) % 10)
    source = f"npz:{tmp_path / 'mine'}"
    run = tmp_path / "run"
    shutil.copytree(finished(), run)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"] = {"source": source}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    few = ("--attacks", "fgsm", "--threat", "undefended", "--diagnose", 0, "--device", "cpu")
    for place in (run, run / "classifier.safetensors"):
        out = tmp_path / f"of-{place.stem}"
        call("evaluate", place, *few, "--out", out)
        content = json.loads((out / "evaluation.json").read_text())
        assert content["data"]["source"] == "mine"


def test_a_folder_of_results_is_one_models_and_holds_its_cards_alone(call, tmp_path):
    few = ("--attacks", "fgsm", "--threat", "undefended", "--diagnose", 0, "--images", 4, "--device", "cpu")
    for eps in ("4/255", "8/255"):
        call("evaluate", finished(), *few, "--eps", eps, "--out", tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").glob("card-*")] == [
            f"card-linf-{eps.replace('/', '_')}.json"
        ]
    with pytest.raises(AssertionError, match=r"is that of another model \(purifier"):
        call("evaluate", finished() / "classifier.safetensors", *few, "--out", tmp_path / "out")


def test_a_purifier_of_another_classifier_is_refused_in_a_run_folder(call, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished(), run)
    tensors, metadata = read_tensors(run / "classifier.safetensors")
    tensors = {name: 2 * value if value.is_floating_point() else value for name, value in tensors.items()}
    write_tensors(run / "classifier.safetensors", tensors, metadata)
    few = ("--attacks", "fgsm", "--threat", "undefended", "--diagnose", 0, "--images", 4, "--device", "cpu")
    with pytest.raises(AssertionError, match="its purifier was trained for another classifier"):
        call("evaluate", run, *few)
    parts = run / "classifier.safetensors", "--purifier", run / "purifier.safetensors"
    assert "was trained for another classifier" in call("evaluate", *parts, *few, "--data", "digits")


def test_reproduce_says_why_something_is_not_measured(call, tmp_path):
    scale = {**TINY, "recipes": {**TINY["recipes"], "mnist": TINY["recipes"]["svhn"]}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(scale))
    page = tmp_path / "page.md"
    page.write_text("<!-- table1 -->\n<!-- /table1 -->\n")
    out = ("--out", tmp_path / "out", "--page", page, "--device", "cpu")
    printed = call("reproduce", "table1", "--scale", tmp_path / "tiny.yaml", *out)
    assert "| K=1 | not measured |" in printed and "27.45" in printed
    assert printed.count("(--data SET=SOURCE)") == 1 and "missing/svhn" in printed
    assert f"table1: {tmp_path}/out/table1" in printed and "27.45" in page.read_text()


def test_info_of_a_run(call):
    printed = call("info", finished(), "--device", "cpu")
    assert "purifier: purifier" in printed and "classifier: resnet14_snn" in printed
    assert "classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in printed
    for part in ("classifier", "purifier"):
        assert f"{part}: firing rates" in printed


def test_info_of_a_foreign_module(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign_info.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n    config = object()\n"
        "def net():\n    return Net(nn.Linear(7, 3))\n"
    )
    printed = call("info", "foreign_info:net", "--device", "cpu")
    assert "model: Net" in printed and "24" in printed
    assert "firing rates" not in printed


def test_attacks_as_text():
    from purespike.text import parse_attacks

    assert parse_attacks("fgsm, pgd:steps=20:step_size=2/255:random_start=false") == [
        {"name": "fgsm"},
        {"name": "pgd", "steps": 20, "step_size": "2/255", "random_start": False},
    ]


def test_a_function_is_found_in_the_current_folder_and_comes_in_evaluation_mode(tmp_path, monkeypatch):
    from purespike.models.resolve import resolve

    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.py").write_text("from torch import nn\ndef net():\n    return nn.Dropout().train()\n")
    model = resolve("here:net")
    assert isinstance(model, nn.Dropout) and not model.training


def test_a_run_folder_is_its_two_parts():
    from purespike.models.resolve import resolve

    model = resolve(str(finished()))
    image = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    classifier, purifier = (resolve(str(finished() / f"{n}.safetensors")) for n in ("classifier", "purifier"))
    with torch.no_grad():
        torch.testing.assert_close(model(image), classifier(purifier(image).images))


def test_everything_public_is_there():
    import purespike

    assert set(purespike.__all__) <= set(dir(purespike))
    assert all(getattr(purespike, name) is not None for name in purespike.__all__)
    with pytest.raises(AttributeError, match="no attribute 'purify'"):
        _ = purespike.purify


def test_minutes_are_shared_among_the_stages(call, monkeypatch, tmp_path):
    found = {}

    def spied(recipe, *_, **__):
        found["classifier"] = recipe.minutes
        raise purespike.InputError("seen")

    monkeypatch.setattr("purespike.experiment.train_classifier", spied)
    line = ("run", write_recipe(tmp_path / "tiny.yaml"), "--minutes", 9, "--out", tmp_path / "run")
    with pytest.raises(AssertionError, match="seen"):
        call(*line, "--device", "cpu")
    kept = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert found["classifier"] == kept["classifier"]["minutes"] == 2 and kept["purifier"]["minutes"] == 5
    with pytest.raises(AssertionError, match="minutes"):
        call("run", tmp_path / "tiny.yaml", "--minutes", 0)
