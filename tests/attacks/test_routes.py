"""Routes to a gradient: each meets what is left, and what follows no gradient is not repeated."""

from dataclasses import replace

import pytest
import torch

from purespike.attacks import create_attack
from purespike.attacks.routes import Route, direct, run_routes
from purespike.neurons import MultiLevelFiring, Surrogate

PGD = create_attack("pgd", eps="12/255", steps=3, step_size="5/255", random_start=False)


@pytest.mark.parametrize(
    ("attack", "left"),
    [
        (PGD, PGD),
        (create_attack("square", queries=5), None),
        (create_attack("spsa", steps=1, samples=1), None),
        (create_attack("apgd_ce", steps=5), create_attack("apgd_ce", steps=5)),
    ],
    ids=lambda value: getattr(value, "name", "none"),
)
def test_what_of_an_attack_follows_gradients(attack, left):
    assert attack.gradient_part() == left


def test_autoattack_goes_on_without_its_search():
    attack = create_attack("autoattack", steps=5)
    left = attack.gradient_part()
    assert left.attacks == ("apgd-ce", "apgd-t", "fab-t") and left.steps == 5
    assert left.gradient_part() == left


def test_a_search_is_not_repeated_along_other_routes(spiking):
    model, images, labels = spiking
    routes = [direct(model, surrogate=name) for name in ("rectangle", "atan")]
    square = create_attack("square", eps="4/255", queries=10)
    result, components = run_routes(routes, images, labels, attack=square)
    assert [component.surrogate for component in components] == ["rectangle"]
    alone = square(model, images, labels)
    assert torch.equal(result.success, alone.success) and result.forwards == alone.forwards


def test_the_judge_of_a_route_is_its_own(plain):
    """A route may be crafted on one model and judged by another: whatever it says has fallen is out."""
    model, images, labels = plain
    met = []

    def run(attack, images, labels):
        met.append(len(images))
        result = attack(model, images, labels)
        return replace(result, success=torch.arange(len(images)) % 2 == 0)

    routes = [Route("one", "own", run), Route("two", "own", run)]
    result, components = run_routes(routes, images[:8], labels[:8], attack=PGD)
    assert met == [8, 4]
    assert [(c.surrogate, c.attacked, c.broken) for c in components] == [("one", 8, 4), ("two", 4, 2)]
    assert result.success.sum() == 6


def test_samples_stay_where_the_surrogate_remembers_them(spiking):
    model, images, labels = spiking
    asked = []

    class Asking(type(PGD)):
        def __call__(self, model, images, labels):
            asked.append((self.stop_early, str(next(iter(_neurons(model))).surrogate.name)))
            return super().__call__(model, images, labels)

    attack = Asking(**{name: getattr(PGD, name) for name in PGD.__dataclass_fields__})
    for surrogate in ("atan", "assg"):
        direct(model, surrogate=surrogate).run(attack, images, labels)
    assert asked == [(True, "atan"), (False, "assg")]
    assert Surrogate.known["assg"].remembers and not Surrogate.known["atan"].remembers


def _neurons(model):
    return (module for module in model.modules() if isinstance(module, MultiLevelFiring))
