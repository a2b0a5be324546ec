"""What a user can get wrong: one line that says what and how to fix it, exit code 2, and nothing touched."""

import re
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from training.tiny import files, finished, write_recipe

from purespike import InputError, cli
from purespike.models import Purifier, save
from purespike.models.checkpoint import read_tensors

MODELS = """
import torch
from torch import nn

def number(): return 7
def fails(): raise RuntimeError("no weights here")
def linear(): return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
def flat(): return nn.Flatten(0)
def images(): return nn.Identity()
def words():
    class Words(nn.Module):
        def forward(self, images): return "cat"
    return Words()
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Everything the mistakes below are made with. No test may change it."""
    desk = tmp_path_factory.mktemp("desk")
    write_recipe(desk / "tiny.yaml")
    for name, text in {
        "list": "- 1\n- 2\n",
        "text": "just text",
        "broken": "seed: [1,\n",
        "type": "classifier: {epochs: many}",
        "section": "classifier: 5",
        "key": "classifier: {epoch: 5}",
        "toplevel": "clasifier: {epochs: 5}",
        "empty_eps": "evaluation: {eps: []}",
    }.items():
        (desk / f"{name}.yaml").write_text(text)
    (desk / "binary.yaml").write_bytes(b"\xff\xfe\x00seed")
    (desk / "bad_models.py").write_text(MODELS)
    (desk / "broken_module.py").write_text("import no_such_module_at_all\n")
    (desk / "leaves.py").write_text("raise SystemExit(0)\n")

    shutil.copytree(finished(), desk / "run")
    good = desk / "run" / "classifier.safetensors"
    (desk / "truncated.safetensors").write_bytes(good.read_bytes()[:-100])
    (desk / "empty.safetensors").write_bytes(b"")
    save_file({"weight": torch.zeros(2)}, desk / "foreign.safetensors")
    tensors, metadata = read_tensors(good)
    for name, old, new in (
        ("wider", '"width": 0.05', '"width": 0.1'),
        ("renamed", "resnet14_snn", "resnet20_snn"),
        ("unknown", "resnet14_snn", "resnet15_snn"),
    ):
        assert old in metadata["config"]
        edited = {**metadata, "config": metadata["config"].replace(old, new)}
        save_file(tensors, desk / f"{name}.safetensors", edited)
    hollow = {**tensors, "readout.bias": tensors["readout.bias"] * torch.nan}
    save_file(hollow, desk / "hollow.safetensors", metadata)
    torch.save({"weight": torch.zeros(2)}, desk / "pickled.pth")
    (desk / "flat" / "cat").mkdir(parents=True)
    save(Purifier(in_channels=1, width=0.05, time_steps=1), desk / "grey.safetensors")

    draw = np.random.default_rng(0)
    for name, shape, classes in (("grey", (24, 32, 32), 10), ("many", (24, 32, 32, 3), 12)):
        for split in ("train", "test"):
            x = draw.integers(0, 256, shape, dtype=np.uint8)
            np.savez(desk / f"{name}-{split}.npz", x=x, y=np.arange(24) % classes)

    pictures = desk / "pictures"
    (pictures / "empty").mkdir(parents=True)
    Image.fromarray(draw.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(pictures / "colour.png")
    Image.fromarray(draw.integers(0, 256, (9, 8), dtype=np.uint16)).save(pictures / "deep.png")
    (pictures / "letter.png").write_text("Dear reader")
    (pictures / "half.png").write_bytes((pictures / "colour.png").read_bytes()[:80])
    Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P").save(pictures / "key.png", transparency=0)
    (desk / "letters").mkdir()
    (desk / "letters" / "a.txt").write_text("a")
    return desk


EVALUATE = "evaluate run --images 4 --attacks fgsm"
TRAIN = "train classifier tiny.yaml --out new"
PURIFY = "purify --model run"

# command, and what its one line must say
MISTAKES = {
    "eps below 0": (f"{EVALUATE} --eps=-8/255", r"eps: must lie in \[0, 1\].*-8/255"),
    "eps above 1": (f"{EVALUATE} --eps 8", r"eps: must lie in \[0, 1\].*write 8/255, not 8"),
    "eps is a word": (f"{EVALUATE} --eps abc", r"eps: 'abc' is neither a number nor a fraction"),
    "one eps of two": (f"{EVALUATE} --eps 8/255,", r"eps: '' is neither"),
    "steps 0": ("evaluate run --attacks pgd:steps=0", r"steps: must be a whole number of at least 1, got 0"),
    "half a step": ("evaluate run --attacks pgd:steps=2.5", r"steps: must be a whole number.*2\.5"),
    "unknown attack": ("evaluate run --attacks fgms", r"unknown attack 'fgms': did you mean 'fgsm'\?"),
    "unknown attack setting": (
        "evaluate run --attacks pgd:step=3",
        r"setting of attack pgd 'step': did.*'steps'",
    ),
    "attack setting without value": ("evaluate run --attacks pgd:steps", r"pgd:steps.*name:key=value"),
    "attack setting no YAML": ("evaluate run --attacks pgd:steps=[", r"value of steps: not YAML"),
    "attack setting of a wrong type": (
        "evaluate run --attacks mifgsm:momentum=abc",
        r"momentum: 'abc' is neither a number",
    ),
    "no attack": ("evaluate run --attacks ,", r"attacks: name at least one"),
    "own eps": ("evaluate run --attacks pgd:eps=0.1", r"attack pgd: its eps comes from"),
    "unknown threat": (f"{EVALUATE} --threat adaptve", r"threat model 'adaptve': did you mean 'adaptive'\?"),
    "threat without purifier": (
        "evaluate run/classifier.safetensors --attacks fgsm --threat bpda",
        r"threat model bpda: the model has no purifier",
    ),
    "unknown data set": (f"{EVALUATE} --data digist", r"data set 'digist': did you mean 'digits'\?"),
    "unknown split": (f"{EVALUATE} --split tests", r"unknown split 'tests': did you mean 'test'"),
    "flat folder": (f"{EVALUATE} --data folder:flat", r"flat: has no train/ and test/.*--split all"),
    "NaN weights": ("evaluate hollow.safetensors --data digits", r"readout\.bias holds 10 of 10 NaN"),
    "pickle": ("info pickled.pth", r"pickled\.pth: a PyTorch file"),
    "unknown device": (f"{EVALUATE} --device gpu", r"unknown device 'gpu'.*known: auto, cpu, cuda, mps"),
    "no images": (f"{EVALUATE} --images 0", r"images: .*greater than or equal to 1, got 0"),
    "no batch": (f"{EVALUATE} --batch-size 0", r"batch_size: .*greater than or equal to 1, got 0"),
    "two purifiers": (f"{EVALUATE} --purifier run", r"--purifier: MODEL already has one"),
    "evaluate into a run": (f"{EVALUATE} --out run", r"run: is a run folder with an evaluation of its own"),
    "grey images": (f"{EVALUATE} --data npz:grey", r"the model takes .*3.*got .*1"),
    "grey images, foreign model": (
        "evaluate bad_models:linear --data npz:grey",
        r"model .*fails at call 1 on images of shape \[2, 1, 32, 32\]: .*mat1 and mat2",
    ),
    "more classes than logits": (
        "evaluate run --attacks fgsm --data npz:many",
        r"labels: .*at most 9, found 0 to 11",
    ),
    "images not named": (
        "evaluate bad_models:linear --attacks fgsm",
        r"--data is required: bad_models:linear is not a run folder; e.g. --data cifar10",
    ),
    "unknown experiment": ("reproduce tabel1", r"unknown experiment 'tabel1': did you mean 'table1'\?"),
    "unknown scale": ("reproduce table1 --scale cup", r"unknown scale 'cup': did you mean 'cpu'\?"),
    "no source": ("reproduce table1 --data cifar10", r"--data cifar10: write SET=SOURCE"),
    "source of another set": ("reproduce table1 --data cifar=x", r"unknown data set of this scale 'cifar'"),
    "no page": ("reproduce table1 --page none.md", r"none\.md: no such page"),
    "not logits": (
        "evaluate bad_models:flat --data digits",
        r"not logits \[N, K\]",
    ),
    "words for logits": (
        "evaluate bad_models:words --data digits",
        r"not logits \[N, K\]; ",
    ),
    "images for logits": (
        "evaluate bad_models:images --data digits",
        r"not logits \[N, K\]; ",
    ),
    "a classifier for a purifier": (
        "evaluate bad_models:linear --purifier run/classifier.safetensors",
        r"the classifier of the model .*fails at call 1 on images of shape \[2, 10\]",
    ),
    "truncated": ("info truncated.safetensors", r"truncated\.safetensors: truncated.*copy it again"),
    "empty file": ("info empty.safetensors", r"empty\.safetensors: truncated, or not a safetensors file"),
    "foreign tensors": ("info foreign.safetensors", r"not a purespike checkpoint.*module:function"),
    "other width": ("info wider.safetensors", r"weights do not match architecture 'resnet14_snn'"),
    "other depth": ("info renamed.safetensors", r"weights do not match architecture 'resnet20_snn'"),
    "architecture of the future": ("info unknown.safetensors", r"'resnet15_snn': did you mean"),
    "missing": ("info nothing.safetensors", r"nothing\.safetensors: no such checkpoint"),
    "missing folder": ("info nowhere/run", r"nowhere/run: no such checkpoint"),
    "folder without a classifier": ("info letters", r"letters/classifier\.safetensors: no such checkpoint"),
    "not a checkpoint": ("info tiny.yaml", r"tiny\.yaml: truncated, or not a safetensors file"),
    "no module": ("info no_module:f", r"cannot import 'no_module'"),
    "own code that is missing": ("--import no_module info run", r"--import: cannot import 'no_module'"),
    "own code that fails": ("--import broken_module info run", r"--import: .*no_such_module_at_all"),
    "own code that exits": ("--import leaves info run", r"--import: cannot import 'leaves': SystemExit: 0"),
    "module that does not import": ("info broken_module:f", r"cannot import .*no_such_module_at_all"),
    "no function": ("info bad_models:nothing", r"'bad_models' has no function 'nothing'"),
    "function that fails": ("info bad_models:fails", r"fails\(\) failed: RuntimeError: no weights here"),
    "function of something else": ("info bad_models:number", r"returned int, not an nn\.Module"),
    "recipe missing": ("run nothing.yaml --out new", r"nothing\.yaml: no such file"),
    "recipe a folder": ("run run --out new", r"run: not a file"),
    "recipe a list": ("run list.yaml --out new", r"a recipe is a mapping of sections, got list"),
    "recipe a text": ("run text.yaml --out new", r"a recipe is a mapping of sections, got str"),
    "recipe broken": ("run broken.yaml --out new", r"broken\.yaml: not YAML"),
    "recipe binary": ("run binary.yaml --out new", r"binary\.yaml: not a YAML file"),
    "recipe type": ("run type.yaml --out new", r"type\.yaml: classifier\.epochs: .*integer.*'many'"),
    "recipe section": ("run section.yaml --out new", r"section\.yaml: classifier: .*got 5"),
    "recipe key": (
        "run key.yaml --out new",
        r"recipe key 'classifier\.epoch': did you mean 'classifier\.epochs'",
    ),
    "recipe section's name": ("run toplevel.yaml --out new", r"'clasifier': did you mean 'classifier'"),
    "recipe without eps": ("run empty_eps.yaml --out new", r"eps: .*give at least one budget"),
    "--set without a value": (
        f"{TRAIN} --set classifier.epochs",
        r"--set classifier\.epochs: write section\.key",
    ),
    "--set without a key": (f"{TRAIN} --set =3", r"--set =3: write section\.key=value"),
    "--set into a number": (f"{TRAIN} --set seed.a=3", r"--set seed\.a: seed is not a section .*, but \d"),
    "--set no YAML": (f"{TRAIN} --set data.source=[", r"--set data.source: not YAML"),
    "--set unknown key": (
        f"{TRAIN} --set purifier.gama=0.2",
        r"'purifier\.gama': did you mean 'purifier\.gamma'",
    ),
    "--set out of range": (
        f"{TRAIN} --set purifier.gamma=0.5",
        r"purifier\.gamma: .*less than 0\.5, got 0\.5",
    ),
    "negative seed": (f"{TRAIN} --seed=-1", r"seed: .*greater than or equal to 0"),
    "unknown architecture": (
        f"{TRAIN} --set classifier.architecture=resnet14_sn",
        r"'resnet14_sn': did you mean 'resnet14_snn'",
    ),
    "unknown surrogate": (
        f"{TRAIN} --set classifier.surrogate=rectangel",
        r"'rectangel': did you mean 'rectangle'",
    ),
    "unknown surrogate to attack": (
        f"{TRAIN} --set evaluation.surrogates=[atn]",
        r"'atn': did you mean 'atan'",
    ),
    "unknown loss": (
        f"{TRAIN} --set evaluation.losses=[margn]",
        r"attack loss 'margn': did you mean 'margin'",
    ),
    "unknown recipe threat": (f"{TRAIN} --set evaluation.threats=[bpd]", r"'bpd': did you mean 'bpda'"),
    "unknown recipe attack": (
        f'{TRAIN} --set evaluation.attacks=[{{"name":"pdg"}}]',
        r"unknown attack 'pdg': did you mean 'pgd'",
    ),
    "unknown craft attack": (
        f"{TRAIN} --set purifier.attack.name=fgms",
        r"attack 'fgms': did you mean 'fgsm'",
    ),
    "descending thresholds": (
        f"{TRAIN} --set purifier.thresholds=[2,1]",
        r"thresholds: must be positive and asc",
    ),
    "recipe's data set": (
        f"{TRAIN} --set data.source=cifar11",
        r"data set 'cifar11': did you mean 'cifar10'",
    ),
    "recipe's eps": (f"{TRAIN} --set evaluation.eps=[9]", r"evaluation\.eps: must lie in \[0, 1\]"),
    "unknown precision": (f"{TRAIN} --precision fp31", r"precision 'fp31': did you mean 'fp32'\?"),
    "fp16 on a CPU": (f"{TRAIN} --device cpu --precision fp16", r"precision fp16 needs a CUDA GPU"),
    "another recipe's folder": (
        "run tiny.yaml --out run --set classifier.epochs=7",
        r"run: belongs to another recipe \(differs in classifier\.epochs\); choose another --out",
    ),
    "another seed": ("run tiny.yaml --out run --seed 9", r"belongs to another recipe \(differs in seed\)"),
    "a folder that is no run": ("run tiny.yaml --out letters", r"letters: exists and is not a run folder"),
    "a file for a folder": ("run tiny.yaml --out tiny.yaml", r"tiny\.yaml: exists and is not a run folder"),
    "classifier of other classes": (
        "train purifier tiny.yaml --out claimed --set data.source=npz:many --classifier bad_models:linear",
        r"labels: .*at most 9, found 0 to 11",
    ),
    "nothing to purify": (f"{PURIFY} nothing.png out.png", r"nothing\.png: no such file or folder"),
    "text in a png": (f"{PURIFY} pictures/letter.png out.png", r"letter\.png: not a readable image"),
    "half a png": (f"{PURIFY} pictures/half.png out.png", r"half\.png: not a readable image"),
    "16 bits": (f"{PURIFY} pictures/deep.png out.png", r"deep\.png: has more than 8 bits a channel"),
    "transparent colour": (f"{PURIFY} pictures/key.png out.png", r"key\.png: .*convert it to RGBA"),
    "onto itself": (f"{PURIFY} pictures/colour.png pictures/colour.png", r"colour\.png: is the input itself"),
    "into its folder": (f"{PURIFY} pictures/colour.png pictures", r"colour\.png: is the input itself"),
    "folder into itself": (f"{PURIFY} pictures pictures/new", r"must be a folder outside pictures"),
    "folder into a file": (f"{PURIFY} pictures tiny.yaml", r"tiny\.yaml: must be a folder outside"),
    "other format": (f"{PURIFY} pictures/colour.png out.jpg", r"out\.jpg: the format stays \.png"),
    "empty folder": (f"{PURIFY} pictures/empty out", r"empty: holds no images \(\.png"),
    "folder without images": (f"{PURIFY} letters out", r"letters: holds no images"),
    "one bad image of several": (f"{PURIFY} pictures out", r"pictures/\w+\.png: "),
    "colour before a grey purifier": (
        "purify --model grey.safetensors pictures/colour.png out.png",
        r"colour\.png: is a colour image, but the purifier takes grey ones",
    ),
    "purify with a classifier": (
        "purify --model run/classifier.safetensors pictures/colour.png out.png",
        r"does not map images \[N, C, H, W\] to images",
    ),
}


def call(monkeypatch, line):
    monkeypatch.setattr(sys, "argv", ["purespike", *line.split(" ")])
    cli.main()


def content(folder):
    # a run whose recipe and data were fine may keep its folder
    skipped = ("__pycache__", "claimed")
    return {name: data for name, data in files(folder).items() if not name.startswith(skipped)}


@pytest.fixture
def at_desk(desk, monkeypatch):
    monkeypatch.chdir(desk)
    monkeypatch.syspath_prepend(desk)
    return desk


@pytest.mark.parametrize(("line", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_clear_line_and_touches_nothing(at_desk, monkeypatch, capsys, line, says):
    before = content(at_desk)
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, line)
    printed = capsys.readouterr()
    assert stop.value.code == 2
    # only work on files says what it begins with
    *begun, error = printed.err.splitlines()
    assert begun == (["purifying: 1 file"] if "purify --model run/classifier" in line else [])
    assert error.startswith("purespike: error: ")
    assert re.search(says, error), error
    assert printed.out == ""
    assert content(at_desk) == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{TRAIN} --classifier run", "No such option: --classifier"),
        ("evaluate", "Missing argument 'MODEL'"),
        ("evaluate run --images many", "Invalid value for '--images'"),
        ("evaluate run --eps", "Option '--eps' requires an argument"),
        ("evalute run", "No such command 'evalute'"),
    ],
)
def test_a_command_line_that_is_none_is_one_line(at_desk, monkeypatch, capsys, line, says):
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, line)
    (error,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and error.startswith(f"purespike: error: {says}")


def test_a_group_alone_shows_its_help(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, "train")
    assert stop.value.code == 2 and "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize("place", [0, 1, 3])
def test_debug_anywhere_shows_the_traceback(at_desk, monkeypatch, place):
    words = ["info", "nothing.safetensors", "--device", "cpu"]
    with pytest.raises(InputError, match="no such checkpoint"):
        call(monkeypatch, " ".join([*words[: place or 0], "--debug", *words[place or 0 :]]))


def test_an_error_of_our_own_is_no_user_error(at_desk, monkeypatch, capsys):
    import purespike.models.resolve as resolve

    def bug(name):
        # the line of a library is not the one to look at
        return torch.zeros(2).view(3)

    monkeypatch.setattr(resolve, "resolve", bug)
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, "info run")
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1
    assert line.startswith("purespike: error: RuntimeError: shape '[3]' is invalid for input of size 2 (")
    assert re.search(r"/test_bad_input\.py:\d+, in bug\); --debug shows the traceback$", line)
    with pytest.raises(RuntimeError):
        call(monkeypatch, "--debug info run")
