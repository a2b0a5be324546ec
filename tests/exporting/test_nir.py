"""NIR files hold what the model computes, spike for spike, by the word of somebody else's executor."""

import nir
import numpy as np
import pytest
import torch

import purespike as ps
from exporting import plain_nir
from exporting.small import SIDE, classifier, images, purifier, spikes
from purespike import InputError
from purespike.exporting.nir_graph import Graph

NETWORKS = {
    "resnet14_snn": {},
    "resnet20_snn": {"thresholds": (0.7,)},
    "wideresnet16_8_snn": {"width": 0.03},
    "wideresnet16_4_snn": {"width": 0.1},
    "vgg11_snn": {"width": 0.06, "thresholds": (0.2, 0.6)},
    "resnet14_snn, grey": {"in_channels": 1, "mean": [0.3], "std": [0.2]},
    "resnet14_snn, no leak": {"decay": 1.0},
    "resnet14_snn, no memory": {"decay": 0.0},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_round_trip_is_equal_spike_for_spike(name, tmp_path):
    settings = dict(NETWORKS[name])
    channels = settings.pop("in_channels", 3)
    model = classifier(name.partition(",")[0], channels=channels, **settings)
    path = tmp_path / "model.nir"
    side = 32 if name == "vgg11_snn" else SIDE
    exported = ps.export(model, path, size=side)
    graph = nir.read(path)
    assert exported.nodes == len(graph.nodes)
    batch = images(3, channels, side)
    # in float64 no membrane lies within rounding of its threshold
    ours, logits = spikes(model.double(), batch.double())
    total = {}
    for number, image in enumerate(batch):
        steps = int(graph.metadata["time_steps"])
        given = plain_nir.run(graph, np.stack([image.double().numpy()] * steps))
        np.testing.assert_allclose(given["output"].mean(0), logits[number].numpy(), atol=1e-5)
        for layer, expected in ours.items():
            levels = [key for key in given if _is_level(key, layer)]
            assert len(levels) == len(model.get_submodule(layer).thresholds)
            count = sum(given[key] for key in levels)
            # weights are float32 in the file
            assert np.array_equal(count, expected[:, number].numpy()), layer
            total[layer] = total.get(layer, 0) + count.sum()
    firing = sum(count > 0 for count in total.values())
    assert len(total) > 7 and firing > 0.8 * len(total), "silent layers would show nothing"


def _is_level(key, layer):
    name = layer.replace(".", "_")
    return key == name or key.startswith(f"{name}_level")


def test_the_file_says_how_it_is_to_be_run(tmp_path):
    model = classifier()
    model.class_names = ("a", "b", "c", "d")
    ps.export(model, tmp_path / "m.nir", images=images(2))
    graph = nir.read(tmp_path / "m.nir")
    assert int(graph.metadata["time_steps"]) == 3 and float(graph.metadata["dt"]) == 1e-4
    assert graph.metadata["class_names"] == '["a", "b", "c", "d"]'
    assert list(graph.nodes["input"].input_type["input"]) == [3, SIDE, SIDE]
    assert "BatchNorm" not in str({type(node).__name__ for node in graph.nodes.values()})


def test_a_spike_at_the_threshold_itself_fires():
    # NIR fires above its threshold, we at it
    graph = Graph(nir, (1, 1, 1))
    node = graph.fire("n", graph.start, ps.neurons.MultiLevelFiring((0.6, 1.6)))
    for name, threshold in zip(node.nodes, (0.6, 1.6), strict=True):
        stored = graph.nodes[name].v_threshold.item()
        assert np.float32(threshold) > stored and not np.float32(threshold) > np.float32(threshold)
        assert np.nextafter(np.float32(stored), np.float32(2)) == np.float32(threshold)


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (lambda: classifier("senet18_snn", width=0.03), r"^body\.1\.gate \(SqueezeExcitation\)"),
        (purifier, r"^denoiser\.widen2 \(ConvTranspose2d\)"),
        (lambda: ps.Defended(purifier(), classifier()), r"^purifier\.denoiser\.widen2 \(ConvTranspose2d\)"),
        (lambda: classifier(dynamics="adaptivelif"), r"^body\.0 \(SpikingNeuron\).*adaptivelif"),
        (lambda: classifier(gates="channel"), r"^body\.0 .*gates"),
        (lambda: classifier(coding="poisson"), r"^coding .*poisson"),
        (lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.GELU()), r"^1 \(GELU\)"),
        (lambda: torch.nn.Conv2d(3, 3, 1, groups=3), "groups"),
    ],
)
def test_what_nir_cannot_express_is_named(model, layer, tmp_path):
    with pytest.raises(InputError, match=layer) as raised:
        ps.export(model(), tmp_path / "m.nir", size=(3, SIDE, SIDE))
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_disagrees_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "m.nir"
    path.write_text("older")
    scale = Graph.scale
    monkeypatch.setattr(Graph, "scale", lambda self, name, *rest: scale(self, name, *_shifted(rest)))
    with pytest.raises(InputError, match="nirtorch differs from the model by"):
        ps.export(classifier(), path, size=SIDE)
    assert path.read_text() == "older" and len(list(tmp_path.iterdir())) == 1


def _shifted(parts):
    signal, scale, shift = parts
    return signal, scale, shift + 0.05


def test_windows_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"AvgPool2d\): its windows do not divide maps of 9×9"):
        ps.export(classifier("vgg11_snn", width=0.02), tmp_path / "m.nir", size=18)
