"""Penalties and projections: their formulas, and what they must not touch."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from purespike import InputError
from purespike.models import Defended, Purifier, create
from purespike.neurons import multi_level_firing
from purespike.training.objectives import Batch, Step, create_objective, objective, penalty
from purespike.training.objectives.convex import simplex
from purespike.training.objectives.layers import recording
from purespike.training.objectives.parseval import parseval
from purespike.training.objectives.registry import _entries


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(2)
    return torch.rand((6, 3, 2, 2), generator=draw, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.fixture
def smooth():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4)).double()


@pytest.fixture
def spiking():
    torch.manual_seed(0)
    return create("resnet14_snn", width=0.05, time_steps=2).train()


@pytest.fixture
def shown():
    return torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(1)), torch.arange(4)


@pytest.fixture
def registered():
    """Names that a test registers are forgotten after it."""
    before = dict(_entries)
    yield
    _entries.clear()
    _entries.update(before)


def steps_of(parts, model, images, labels, **given):
    return list(create_objective(parts).steps(Batch(model, images, labels, **given)))


def double_backward(model, images, labels, norm):
    """The penalty by PyTorch's own second derivatives."""
    leaf = images.clone().requires_grad_()
    losses = functional.cross_entropy(model(leaf), labels, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), leaf, create_graph=True)
    flat = gradient.flatten(1)
    return (flat.norm(dim=1) if norm == "l2" else flat.abs().sum(1) / flat.shape[1] ** 0.5).square().mean()


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_input_gradient_tends_to_that_of_double_backpropagation(smooth, batch, norm):
    """Value and parameter gradient, ten times closer with a tenth of the step."""
    expected = double_backward(smooth, *batch, norm)
    gradients = torch.autograd.grad(expected, list(smooth.parameters()))
    errors = []
    for h in (1e-2, 1e-3):
        part = {"name": "input_gradient", "norm": norm, "step": h}
        plain, penalised = steps_of("none", smooth, *batch), steps_of(["none", part], smooth, *batch)
        value = penalised[0].terms["input_gradient"]
        torch.testing.assert_close(penalised[0].loss - plain[0].loss, value)
        found = torch.autograd.grad(penalised[0].loss - plain[0].loss, list(smooth.parameters()))
        errors.append(
            [abs(value - expected).item(), *(torch.dist(a, b) for a, b in zip(found, gradients, strict=True))]
        )
    assert errors[0][0] < 0.05 * expected
    assert all(fine < 0.2 * coarse + 1e-9 for coarse, fine in zip(*errors, strict=True))


def test_the_weight_of_a_penalty_counts(smooth, batch):
    values = [
        steps_of(["none", {"name": "input_gradient", "weight": w}], smooth, *batch)[0] for w in (1, 2.5)
    ]
    plain = steps_of("none", smooth, *batch)[0].loss
    torch.testing.assert_close(values[1].loss - plain, 2.5 * (values[0].loss - plain))
    assert (
        values[0].passes == 1 + 2 and values[1].terms["input_gradient"] == values[0].terms["input_gradient"]
    )


@pytest.mark.parametrize(
    ("base", "name"),
    [
        *[("none", name) for name in ("input_gradient", "overlap", "sparse_gradient", "threshold_distance")],
        ("pgd", "input_gradient"),
        ("trades", "input_gradient"),
    ],
)
def test_a_penalty_of_weight_0_is_not_computed(spiking, shown, base, name):
    """Not even statistics of batch norms may move by its images."""
    made = []
    for parts in (base, [base, {"name": name, "weight": 0}]):
        model = copy.deepcopy(spiking)
        (step,) = steps_of(parts, model, *shown, seed=3)
        step.loss.backward()
        made.append((step, model))
    (plain, one), (weightless, other) = made
    assert torch.equal(plain.loss, weightless.loss) and plain.passes == weightless.passes
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize(("base", "sets"), [("none", 1), ("pgd", 1), ("trades", 2)])
def test_everything_passes_in_one_forward(spiking, shown, base, sets):
    """In training mode, once; the passes that find a direction are in evaluation mode."""
    sizes = []
    spiking.register_forward_hook(lambda model, inputs, _: sizes.append((model.training, len(inputs[0]))))
    (step,) = steps_of([base, "input_gradient"], spiking, *shown)
    assert [size for training, size in sizes if training] == [(sets + 1) * len(shown[0])]
    assert step.passes * len(shown[0]) == sum(size for _, size in sizes)
    assert all(parameter.requires_grad for parameter in spiking.parameters())


def test_a_penalty_sees_the_images_that_the_criterion_meets(registered, smooth, batch):
    seen = []

    @penalty("looking")
    def looking(view, *, factor: float):
        seen.append((view.images, view.logits, view.batch.clean))
        return factor * view.logits.square().mean()

    (step,) = steps_of(["pgd", {"name": "looking", "factor": 2}], smooth, *batch, seed=4)
    ((images, logits, clean),) = seen
    torch.testing.assert_close(logits, smooth(images))
    assert torch.equal(clean, batch[0]) and not torch.equal(images, clean)
    expected = functional.cross_entropy(logits, batch[1]) + 2 * logits.square().mean()
    torch.testing.assert_close(step.loss, expected)


def test_a_penalty_sees_the_currents_of_every_layer(registered, spiking, shown):
    """With the graph, and those that make the spikes; the network is left as it was."""
    seen = []

    @penalty("currents", layers=True)
    def currents(view):
        seen.append(view)
        return sum(layer.current.square().mean() for layer in view.layers)

    (step,) = steps_of(["trades", "currents", "input_gradient"], spiking, *shown)
    (view,) = seen
    names = [name for name, module in spiking.named_modules() if hasattr(module, "thresholds")]
    assert sorted(layer.name for layer in view.layers) == sorted(names)
    for layer in view.layers:
        assert layer.current.shape[:2] == (2, len(shown[0])), "time, images of the first set"
        fired = multi_level_firing(
            layer.current, thresholds=layer.neurons.thresholds, decay=layer.neurons.decay
        )
        assert torch.equal(fired, layer.spikes)
    step.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in spiking.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in spiking.modules())


def test_recorded_spikes_are_those_of_the_fused_pass(spiking, shown):
    bare = copy.deepcopy(spiking)
    with recording(spiking) as layers:
        logits = spiking(shown[0])
    torch.testing.assert_close(logits, bare(shown[0]), rtol=1e-4, atol=1e-5)
    assert len(layers) == len({layer.name for layer in layers}) > 5
    for one, other in zip(spiking.buffers(), bare.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_purifier_is_penalised_through_the_classifier(spiking, shown):
    purifier, images = Purifier(width=0.1, time_steps=2).train(), shown[0]
    from purespike.recipe import PurifierRecipe

    classifier = spiking.eval().requires_grad_(False)
    given = {
        "recipe": PurifierRecipe(),
        "clean": images,
        "classifier": classifier,
        "network": Defended(purifier, classifier),
    }
    noisy = (images + 0.05).clamp(0, 1)
    objective = create_objective(["paper", "input_gradient"], stage="purifier")
    (step,) = objective.steps(Batch(purifier, noisy, shown[1], **given))
    assert set(step.terms) == {"reconstruction", "asymmetric", "total_variation", "input_gradient"}
    step.loss.backward()
    assert step.terms["input_gradient"] > 0 and purifier.denoiser.last.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_penalties_are_not_silently_lost(registered, smooth, batch):
    """By an objective that does not let them see its forward, or makes two where processes exchange once."""

    @objective("by itself")
    def by_itself(batch):
        return Step(batch.model(batch.images).square().mean())

    @objective("twice")
    def twice(batch):
        return Step(sum(batch.forward(batch.images)[0].logits.mean() for _ in range(2)))

    assert len(steps_of("by itself", smooth, *batch)) == 1
    with pytest.raises(InputError, match=r"leave out its penalties \(input_gradient\)"):
        steps_of(["by itself", "input_gradient"], smooth, *batch)
    with pytest.raises(RuntimeError, match="one forward a step"):
        steps_of("twice", smooth, *batch)


# ---- projections


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (12, 2, 1, 1)], ids=["more columns", "more rows"])
def test_parseval_is_a_step_of_gradient_descent(shape):
    """On ‖WWᵀ − I‖² β/4, differentiated by PyTorch."""
    torch.manual_seed(0)
    layer = nn.Conv2d(shape[1], shape[0], shape[2], bias=False).double()
    weight = layer.weight.detach().flatten(1).clone().requires_grad_()
    gap = weight @ weight.T - torch.eye(len(weight), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(0.01 / 4 * gap.square().sum(), weight)
    with torch.no_grad():
        parseval(layer, beta=0.01)
    torch.testing.assert_close(layer.weight.flatten(1), weight.detach() - gradient)


def test_parseval_draws_singular_values_to_one_and_leaves_orthonormal_rows():
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(4, 9, dtype=torch.float64), full_matrices=False)
    layer = nn.Linear(9, 4).double()
    bias = layer.bias.detach().clone()
    with torch.no_grad():
        layer.weight.copy_(u @ v)
        parseval(layer, beta=0.1)
        torch.testing.assert_close(layer.weight, u @ v)
        layer.weight.copy_(u * torch.tensor([1.5, 0.5, 1.0, 0.9]).double() @ v)
        for _ in range(60):
            parseval(layer, beta=0.1)
    torch.testing.assert_close(
        torch.linalg.svdvals(layer.weight.detach()), torch.ones(4).double(), atol=1e-3, rtol=0
    )
    assert torch.equal(layer.bias, bias)


def test_parseval_draws_what_singular_values_there_are_to_one_where_rows_are_many():
    torch.manual_seed(0)
    layer = nn.Linear(3, 8).double()
    with torch.no_grad():
        for _ in range(200):
            parseval(layer, beta=0.1)
    torch.testing.assert_close(torch.linalg.svdvals(layer.weight.detach()), torch.ones(3).double())


def test_parseval_takes_as_long_as_its_recursion_says():
    """1.5 and 0.5 come within 1 % after about 1,670 and 2,500 steps of 0.001."""
    layer = nn.Linear(2, 2).double()
    taken = {}
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.5, 0.0], [0.0, 0.5]]))
        for count in range(1, 2600):
            parseval(layer, beta=0.001)
            for place in (0, 1):
                if abs(layer.weight[place, place].item() - 1) <= 0.01:
                    taken.setdefault(place, count)
    assert taken[0] == pytest.approx(1670, rel=0.02) and taken[1] == pytest.approx(2500, rel=0.02)


def test_parseval_does_not_diverge_from_large_weights():
    """Above √((2 + β) / β) = 44.7 the plain step would; no sign of a singular value changes on the way."""
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(4, 9, dtype=torch.float64), full_matrices=False)
    layer = nn.Linear(9, 4).double()
    with torch.no_grad():
        layer.weight.copy_(u * torch.tensor([1000.0, 60.0, 1.0, 0.5]).double() @ v)
        plain = layer.weight.clone()
        for _ in range(5):
            plain = 1.001 * plain - 0.001 * plain @ plain.T @ plain
        assert plain.norm() > 1e10
        before = torch.linalg.svdvals(layer.weight)
        for _ in range(30):
            parseval(layer, beta=0.001)
            after = torch.linalg.svdvals(layer.weight)
            # halved at most: the largest step is Newton's to 1
            assert before[0] / 2 < after[0] < before[0] and (u.T @ layer.weight @ v.T).diag().min() > 0
            before = after
        assert after[0] < 45
        for _ in range(5000):
            parseval(layer, beta=0.001)
    torch.testing.assert_close(torch.linalg.svdvals(layer.weight), torch.ones(4).double(), atol=1e-3, rtol=0)


def test_parseval_takes_a_share_of_many_rows_from_a_stream_of_its_own():
    layer = nn.Linear(6, 10)
    before = layer.weight.detach().clone()
    changed = []
    objective = create_objective({"name": "parseval", "beta": 0.1, "share": 0.4, "many": 10})
    for stream in ("a", "a", "b"):
        with torch.no_grad():
            layer.weight.copy_(before)
        torch.rand(3)
        objective.project(layer, stream, device=torch.device("cpu"))
        changed.append((layer.weight != before).any(1).nonzero().squeeze(1).tolist())
    assert len(changed[0]) == 4 and changed[0] == changed[1] != changed[2]
    assert layer.weight.requires_grad and layer.weight.grad is None


def nearest_by_bisection(weights):
    """The projection on the simplex as the root of a decreasing function, in float64."""
    low, high = weights.min().item() - 1, weights.max().item()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (weights - middle).clamp(min=0).sum() > 1 else (low, middle)
    return (weights - high).clamp(min=0)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_simplex_is_that_of_bisection(count):
    draw = torch.Generator().manual_seed(count)
    for scale in (0.1, 1, 30):
        weights = scale * torch.randn(count, generator=draw, dtype=torch.float64)
        found = simplex(weights)
        torch.testing.assert_close(found, nearest_by_bisection(weights), atol=1e-10, rtol=0)
        torch.testing.assert_close(found.sum(), torch.tensor(1.0).double())
        torch.testing.assert_close(simplex(found), found)
    assert simplex(torch.tensor([0.5, 0.5])).tolist() == [0.5, 0.5]


def test_convex_projects_every_pair_and_nothing_else():
    torch.manual_seed(0)
    model = create("wideresnet16_4_snn", width=1 / 16, time_steps=1)
    pairs = {name: value for name, value in model.named_parameters() if name.endswith("gate.weights")}
    before = {name: value.clone() for name, value in model.named_parameters()}
    with torch.no_grad():
        for pair in pairs.values():
            pair += torch.tensor([0.3, -0.9])
    create_objective("convex").project(model, 0, device=torch.device("cpu"))
    for name, value in model.named_parameters():
        assert value.tolist() == [1.0, 0.0] if name in pairs else torch.equal(value, before[name])


# ---- the list


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["pgd", "trades"], r"classifier\.objective: pgd and trades are objectives, of which there is one"),
        (["input_gradient", "input_gradient"], r"classifier\.objective: input_gradient is named twice"),
        ("paper", r"classifier\.objective: unknown objective 'paper'"),
        ("input_gradiant", "did you mean 'input_gradient'"),
        (
            {"name": "input_gradient", "weight": -1},
            r"classifier\.objective: input_gradient: weight: .*got -1",
        ),
        ({"name": "input_gradient", "weight": float("inf")}, "input_gradient: weight: "),
        ({"name": "input_gradient", "norm": "linf"}, "input_gradient: norm: .*got 'linf'"),
        ({"name": "input_gradient", "step": 0}, "input_gradient: step: "),
        ({"name": "parseval", "weight": 1}, "unknown setting of parseval 'weight'"),
        ({"name": "parseval", "shares": 1}, "did you mean 'share'"),
    ],
)
def test_bad_lists_are_one_clear_line(parts, message):
    with pytest.raises(InputError, match=message) as error:
        create_objective(parts)
    assert "\n" not in str(error.value)


def test_a_purifier_is_not_trained_as_a_classifier():
    with pytest.raises(InputError, match=r"purifier\.objective: unknown objective 'pgd'.*known: .*paper"):
        create_objective("pgd", stage="purifier")


def test_penalties_alone_go_with_the_plain_objective(smooth, batch):
    alone, named = (steps_of(p, smooth, *batch)[0] for p in ("input_gradient", ["none", "input_gradient"]))
    assert torch.equal(alone.loss, named.loss)


@pytest.mark.parametrize("name", ["pgd", "input_gradient", "parseval"])
def test_a_name_is_taken_once(name):
    with pytest.raises(ValueError, match="registered twice"):
        penalty(name)(lambda view: view.logits.mean())


def test_weight_is_every_penaltys(registered):
    def weighted(view, *, weight: float = 1.0):
        return view.logits.mean()

    with pytest.raises(ValueError, match="weight is every penalty's setting"):
        penalty("weighted")(weighted)
    with pytest.raises(ValueError, match="is no Penalty"):
        penalty("a class")(nn.Identity)
