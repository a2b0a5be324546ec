"""Which attacks are run at which budgets, and with which steps."""

import pytest

from purespike import InputError
from purespike.attacks import create_attack
from purespike.evaluation.plan import SUITES, averaged, passes_of, plan_jobs, suite
from purespike.neurons import parse_surrogate


def steps(spec, *budgets, norm="linf"):
    return [job.attack.step_size for job in plan_jobs([spec], budgets, norm=norm)]


def test_steps_that_do_not_cross_the_ball_are_widened():
    twenty = {"name": "pgd", "steps": 20}
    assert steps(twenty, 8 / 255, 40 / 255, 51 / 255) == pytest.approx(
        [2 / 255, 2 / 255, 2.5 * 51 / 255 / 20]
    )
    assert steps({**twenty, "step_size": 1 / 255}, 51 / 255) == pytest.approx([1 / 255]), "as asked for"
    assert steps("fgsm", 51 / 255) == pytest.approx([51 / 255])
    assert steps({**twenty, "steps": 100}, 51 / 255) == pytest.approx([2 / 255])


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_suite_can_be_planned_in_either_norm(name, norm):
    chosen = suite(name, norm)
    jobs = plan_jobs(chosen.attacks, [0.1, 0.5], norm=norm)
    assert {job.norm for job in jobs if job.eps is not None} == {norm}
    assert all(parse_surrogate(surrogate) for surrogate in chosen.surrogates)
    assert all(passes_of(job.attack) >= 1 for job in jobs)
    for job in jobs:
        reach = getattr(job.attack, "step_size", None)
        assert job.eps is None or reach is None or reach * job.attack.steps >= 0.99 * job.eps


def test_each_suite_holds_the_one_before():
    def names(suite):
        return {spec if isinstance(spec, str) else spec["name"] for spec in SUITES[suite].attacks}

    assert names("quick") < names("standard") < names("full")
    assert (
        set(SUITES["quick"].surrogates) <= set(SUITES["standard"].surrogates) < set(SUITES["full"].surrogates)
    )


def test_an_unknown_suite_is_named():
    with pytest.raises(InputError, match="did you mean 'standard'"):
        suite("standart")


def test_gradients_are_averaged_where_nothing_else_was_said():
    plain, asked, search = (plan_jobs([spec], [0.1])[0] for spec in ("pgd", {"name": "pgd", "eot": 3}, "cw"))
    assert averaged(plain, 20).attack.eot == 20 and averaged(plain, 1) == plain
    assert averaged(asked, 20) == asked and averaged(search, 20) == search


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("fgsm", {}, 1),
        ("pgd", {"steps": 20, "restarts": 3, "eot": 2}, 120),
        ("spsa", {"steps": 3, "samples": 10}, 63),
        ("cw", {"steps": 50, "search_steps": 4}, 200),
        ("square", {"queries": 77}, 77),
        ("autoattack", {"steps": 10, "queries": 100}, 10 + 90 + 180 + 100),
        ("gaussian_noise", {}, 1),
    ],
)
def test_the_cost_of_an_attack(name, settings, expected):
    assert passes_of(create_attack(name, **settings)) == expected
