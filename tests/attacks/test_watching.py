"""What a watcher is told is the attack itself: its iterates, its kept image, its trace."""

import pytest
import torch

from purespike.attacks import create_attack
from purespike.attacks.watching import Sighting, watcher, watching

NAMES = ("fgsm", "ifgsm", "mifgsm", "pgd", "sa_pgd", "spsa")


def seen_by(attack, plain):
    sightings: list[Sighting] = []
    with watching(sightings.append):
        result = attack(*plain)
    return sightings, result


@pytest.mark.parametrize("name", NAMES)
def test_every_iterate_is_told(name, plain):
    settings = {} if name == "fgsm" else {"steps": 3}
    settings |= {"samples": 2} if name == "spsa" else {}
    attack = create_attack(name, eps=8 / 255, **settings)
    sightings, result = seen_by(attack, plain)
    assert [one.step for one in sightings] == list(range(attack.steps + 1))[: len(sightings)]
    for one in sightings:
        assert torch.equal(one.losses, result.loss_trace[one.step, one.rows])
    # the image that is kept is the iterate of its step
    for row, step in enumerate(result.best_step.tolist()):
        if step < len(sightings) and row in sightings[step].rows:
            place = sightings[step].rows.tolist().index(row)
            assert torch.equal(sightings[step].images[place], result.images[row])


def test_watching_changes_nothing(plain):
    attack = create_attack("pgd", eps=8 / 255, steps=4, seed=3)
    _, watched = seen_by(attack, plain)
    assert torch.equal(watched.images, attack(*plain).images)


def test_images_that_left_are_not_told(plain):
    attack = create_attack("pgd", eps=64 / 255, steps=6, step_size=32 / 255, stop_early=True)
    sightings, result = seen_by(attack, plain)
    for one in sightings[1:]:
        left = [
            row
            for row, step in enumerate(result.best_step.tolist())
            if result.success[row] and step < one.step
        ]
        assert not {*left} & {*one.rows.tolist()}


def test_an_error_ends_the_attack_and_the_watch(plain):
    def refuse(sighting):
        raise KeyError(sighting.step)

    with pytest.raises(KeyError), watching(refuse):
        create_attack("pgd", eps=8 / 255)(*plain)
    assert watcher() is None
    assert not plain[0].training
