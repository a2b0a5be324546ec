"""Calls with values of another type: one clear line each, before anything is computed."""

import pytest
import torch
from torch import nn

import purespike as ps
from purespike import InputError
from purespike.evaluation import transfer_matrix
from purespike.models import Defended, create

MODEL = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
PAIR = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])


def certify(**given):
    ps.certify(MODEL, PAIR, n=20, n0=10, **given)


def evaluate(**given):
    ps.evaluate(MODEL, PAIR, attacks=["fgsm"], diagnose=0, **given)


def transfer(substitutes=None, targets=None, **given):
    transfer_matrix(substitutes or {"a": MODEL}, targets or {"b": MODEL}, PAIR, attacks="fgsm", **given)


def own():
    return create("resnet14_snn", width=0.0625, time_steps=1)


CALLS = {
    "certify name": (lambda _: certify(name=5), "name: a name is text, got int"),
    "certify compare": (lambda _: certify(compare=[MODEL]), "compare: give a mapping of names to models"),
    "certify names": (lambda _: certify(compare={5: MODEL}), "compare: a name is text, got 5"),
    "certify model": (lambda _: certify(compare={"a": 5}), "compare: a: not an nn.Module .*but int"),
    "certify accelerator": (lambda _: certify(accelerator=7), "accelerator: expected .*got int"),
    "evaluate substitutes": (lambda _: evaluate(substitutes={5: MODEL}), "substitutes: a name is text"),
    "evaluate accelerator": (lambda _: evaluate(accelerator=7), "accelerator: expected .*got int"),
    "evaluate corrupted": (lambda _: evaluate(corrupted=5), "corrupted images: a path is needed, got int"),
    "substitutes": (lambda _: transfer({5: MODEL}), "substitutes: a name is text, got 5"),
    "targets": (lambda _: transfer(targets=[MODEL]), "targets: give a mapping of names to models, got list"),
    "transfer accelerator": (lambda _: transfer(accelerator=5), "accelerator: expected .*got int"),
    "trained_on": (lambda _: transfer(trained_on=5), "trained_on: give a mapping of names to ImageSets"),
    "trained_on images": (lambda _: transfer(trained_on={"a": 5}), "trained_on: give a mapping"),
    "Defended purifier": (lambda _: Defended(5, MODEL), "purifier: an nn.Module is needed, got int"),
    "Gated classifier": (lambda _: ps.Gated(MODEL, "x"), "classifier: an nn.Module is needed, got str"),
    "Resetting": (lambda _: ps.Resetting(5), "Resetting: an nn.Module is needed, got int"),
    "Resetting reset": (lambda _: ps.Resetting(MODEL, 5), "reset is a function of the model, got int"),
    "Logits take": (lambda _: ps.Logits(MODEL, 2.5), "take is an index, a name or a function .*got float"),
    "export path": (lambda _: ps.export(own(), 5), "export: a path is needed, got int"),
    "export images": (lambda at: ps.export(own(), at / "a.onnx", images=5), "images: expected .*got int"),
    "metadata": (lambda at: ps.save(own(), at / "a.safetensors", metadata=5), "metadata: a mapping of texts"),
    "metadata entry": (
        lambda at: ps.save(own(), at / "a.safetensors", metadata={"a": 5}),
        "metadata: a mapping of texts",
    ),
    "pretrained path": (lambda _: ps.save_pretrained(own(), 5), "save_pretrained: a path is needed, got int"),
    "pretrained name": (lambda at: ps.save_pretrained(own(), at, name=5), "name: text is needed, got int"),
    "create": (lambda _: create(5), "model: name one of .*resnet14_snn.*; got int"),
}


@pytest.mark.parametrize(("call", "says"), CALLS.values(), ids=CALLS)
def test_a_value_of_another_type_is_one_line(call, says, tmp_path):
    with pytest.raises(InputError, match=says) as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
