"""Recipes: what a file says is what runs, with every default written out."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from purespike import InputError
from purespike.attacks import create_attack
from purespike.evaluation.plan import parse_budgets, plan_jobs
from purespike.models import list_models
from purespike.neurons import parse_surrogate
from purespike.optimisation import Adam, AdamW, Cosine, Milestones, Sgd
from purespike.recipe import Recipe, load_recipe, parse_recipe
from purespike.run_folder import check_owner
from purespike.training.objectives import create_objective

RECIPES = sorted((Path(__file__).parents[1] / "recipes").rglob("*.yaml"))


def test_there_are_recipes_to_test():
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_we_ship_can_run(path):
    recipe = load_recipe(path)
    assert recipe.classifier.architecture in list_models()
    milestones = getattr(recipe.classifier.schedule, "milestones", ())
    assert all(milestone < recipe.classifier.epochs for milestone in milestones)
    # only the paper's loss has another β later on
    own = {part["name"] for part in recipe.purifier.objective}
    assert "paper" not in own or recipe.purifier.switch_epoch <= recipe.purifier.epochs
    create_attack(**recipe.purifier.attack)
    create_objective(recipe.classifier.objective)
    create_objective(recipe.purifier.objective, stage="purifier")
    settings = recipe.evaluation
    assert plan_jobs(settings.attacks, parse_budgets(settings.eps, settings.norm), norm=settings.norm)
    for surrogate in (*settings.surrogates, recipe.classifier.surrogate, recipe.purifier.surrogate):
        parse_surrogate(surrogate)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_is_written_out_reads_back_the_same(path, tmp_path):
    recipe = load_recipe(path)
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml") == recipe


@given(
    st.integers(0, 2**31),
    st.floats(1e-6, 10),
    st.lists(st.integers(1, 500), max_size=4, unique=True).map(sorted),
    st.sampled_from(["8/255", 0.03, "0.5"]),
)
def test_any_values_survive_writing(seed, rate, milestones, eps):
    recipe = parse_recipe(
        {
            "seed": seed,
            "classifier": {"learning_rate": rate, "milestones": milestones},
            "evaluation": {"eps": [eps]},
        }
    )
    assert parse_recipe(yaml.safe_load(recipe.to_yaml())) == recipe
    assert recipe.classifier.learning_rate == rate


def test_everything_is_written_out():
    def leaves(value, prefix=""):
        if hasattr(type(value), "model_fields"):
            for name in type(value).model_fields:
                yield from leaves(getattr(value, name), f"{prefix}{name}.")
        else:
            yield prefix

    written = yaml.safe_load(Recipe().to_yaml())
    for leaf in leaves(Recipe()):
        place = written
        for key in leaf.strip(".").split("."):
            assert key in place, leaf
            place = place[key]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("seed: 1\nclassifier: {epochs: 3, milestones: [2]}\n")
    return path


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("seed=7", lambda r: r.seed, 7),
        ("classifier.epochs=5", lambda r: r.classifier.epochs, 5),
        ("classifier.milestones=[3, 4]", lambda r: r.classifier.schedule.milestones, (3, 4)),
        ("classifier.learning_rate=1e-3", lambda r: r.classifier.learning_rate, 0.001),
        ("classifier.flip=false", lambda r: r.classifier.flip, False),
        ("data.train_limit=null", lambda r: r.data.train_limit, None),
        # the default of what cannot be null
        ("classifier.epochs=null", lambda r: r.classifier.epochs, 150),
        ("purifier.attack=null", lambda r: r.purifier.attack["name"], "fgsm"),
        ("data.source=npz:/a=b", lambda r: r.data.source, "npz:/a=b"),
        ("purifier.attack.eps=4/255", lambda r: r.purifier.attack["eps"], "4/255"),
        ("evaluation.attacks=[{name: pgd, steps: 9}]", lambda r: r.evaluation.attacks[0]["steps"], 9),
        ("purifier.attack.eps=4/255", lambda r: r.purifier.attack["name"], "fgsm"),
        ("purifier.attack={name: pgd}", lambda r: r.purifier.attack, {"name": "pgd"}),
        ("classifier.smoothing=ols", lambda r: r.classifier.smoothing, "ols"),
        ("classifier.smoothing=none", lambda r: r.classifier.smoothing, "none"),
        ("classifier.adversarial=pgd", lambda r: r.classifier.objective, ({"name": "pgd"},)),
        ("classifier.adversarial={name: trades, beta: 3}", lambda r: r.classifier.objective[0]["beta"], 3),
        ("classifier.objective=[pgd, parseval]", lambda r: r.classifier.objective[1], {"name": "parseval"}),
        ("classifier.weight_decay=0", lambda r: r.classifier.optimiser, Sgd(weight_decay=0)),
        ("classifier.optimiser.weight_decay=0", lambda r: r.classifier.optimiser, Sgd(weight_decay=0)),
        ("classifier.optimiser=adamw", lambda r: r.classifier.optimiser, AdamW()),
        ("classifier.schedule=cosine", lambda r: r.classifier.schedule, Cosine()),
        ("purifier.schedule={name: cosine, final: 0.1}", lambda r: r.purifier.schedule, Cosine(final=0.1)),
        ("purifier.optimiser.weight_decay=0.01", lambda r: r.purifier.optimiser, Adam(weight_decay=0.01)),
        ("purifier.noise_level=signed", lambda r: r.purifier.noise_level, "signed"),
        ("purifier.clean_share=0.25", lambda r: r.purifier.clean_share, 0.25),
        (" purifier.width = 0.5", lambda r: r.purifier.width, 0.5),
    ],
)
def test_an_override_has_the_type_that_yaml_gives_it(file, override, read, value):
    found = read(load_recipe(file, [override]))
    assert found == value and type(found) is type(value)


def test_overrides_change_nothing_else_and_the_last_one_counts(file):
    plain = load_recipe(file)
    changed = load_recipe(file, ["seed=4", "seed=5"])
    assert changed.seed == 5
    assert changed.model_copy(update={"seed": 1}) == plain
    assert plain.classifier.epochs == 3 and plain.classifier.schedule.milestones == (2,)


def test_an_empty_recipe_is_the_papers(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    recipe = load_recipe(tmp_path / "empty.yaml")
    assert recipe == Recipe()
    # section 5.1 of the paper
    assert (recipe.classifier.epochs, recipe.classifier.batch_size) == (150, 256)
    assert recipe.classifier.optimiser == Sgd(momentum=0.9, weight_decay=1e-4)
    assert recipe.classifier.schedule == Milestones(milestones=(80, 120), decay_factor=0.1)
    assert (recipe.purifier.epochs, recipe.purifier.batch_size, recipe.purifier.learning_rate) == (
        200,
        128,
        1e-4,
    )


def test_what_the_paper_leaves_out_is_left_out_unless_asked_for():
    """Old recipes, which do not name these keys, mean what they meant."""
    recipe = Recipe()
    assert (recipe.classifier.smoothing, recipe.classifier.objective) == ("none", ({"name": "none"},))
    assert (recipe.purifier.noise_level, recipe.purifier.clean_share) == ("absolute", 0)
    assert recipe.purifier.attack == {"name": "fgsm", "eps": "16/255"}


@pytest.mark.parametrize("name", ["ols", "at", "trades"])
def test_a_variant_of_the_papers_recipe_differs_in_the_classifiers_objective_alone(name):
    folder = RECIPES[0].parent
    base, variant = (load_recipe(folder / f"{stem}.yaml") for stem in ("cifar10", f"cifar10-{name}"))
    objective = {key: getattr(variant.classifier, key) for key in ("smoothing", "objective")}
    assert variant != base
    assert variant == base.model_copy(update={"classifier": base.classifier.model_copy(update=objective)})


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ({"sed": 1}, "seed"),
        ({"purifer": {}}, "purifier"),
        ({"data": {"test_limits": 1}}, "data.test_limit"),
        ({"evaluation": {"surogates": []}}, "evaluation.surrogates"),
        ({"classifier": {"optimiser": {"momentun": 0.5}}}, "classifier.optimiser.momentum"),
        (
            {"classifier": {"optimiser": {"groups": [{"pattern": "", "rates": 2}]}}},
            "classifier.optimiser.groups.0.rate",
        ),
        ({"purifier": {"schedule": {"name": "cosine", "finall": 0}}}, "purifier.schedule.final"),
    ],
)
def test_an_unknown_key_names_the_nearest(values, near):
    with pytest.raises(InputError, match=f"did you mean '{near}'"):
        parse_recipe(values)


@pytest.mark.parametrize(
    ("section", "key", "bad"),
    [
        ("classifier", "epochs", 0),
        ("classifier", "batch_size", -1),
        ("classifier", "learning_rate", 0),
        ("classifier", "optimiser", "adan"),
        ("classifier", "optimiser", {"momentum": 1}),
        ("classifier", "optimiser", {"groups": [{"pattern": "("}]}),
        ("classifier", "schedule", {"milestones": [0]}),
        ("classifier", "schedule", 7),
        ("purifier", "schedule", {"name": "one_cycle", "warm_up": 1}),
        ("classifier", "decay", 1.5),
        ("classifier", "width", 0),
        ("classifier", "time_steps", 0),
        ("classifier", "crop_padding", -1),
        ("classifier", "smoothing", "off"),
        ("classifier", "objective", {"eps": 0.1}),
        ("classifier", "objective", ["pgd", 3]),
        ("classifier", "objective", 7),
        ("purifier", "attack", "fgsm"),
        ("purifier", "attack", {"name": 3}),
        ("purifier", "noise_level", "std"),
        ("purifier", "clean_share", 1),
        ("purifier", "clean_share", -0.1),
        ("purifier", "beta", 1.1),
        ("purifier", "gamma", 0),
        ("purifier", "switch_epoch", 0),
        ("evaluation", "images", 0),
        ("evaluation", "eps", ["2"]),
        ("data", "train_limit", 0),
        ("data", "role", "thief"),
        ("data", "attacker_limit", 0),
        ("data", "defender_seed", 3),
    ],
)
def test_a_value_out_of_range_is_named_with_its_place(section, key, bad):
    with pytest.raises(InputError, match=rf"recipe: {section}\.{key}.*: ."):
        parse_recipe({section: {key: bad}})


def test_an_override_replaces_what_a_former_key_said(file):
    """The file has milestones, which a cosine does not."""
    assert load_recipe(file, ["classifier.schedule=cosine"]).classifier.schedule == Cosine()


@pytest.mark.parametrize(
    "path", sorted(RECIPES[0].parents[1].glob("results/**/recipe.yaml")), ids=lambda path: path.parent.name
)
def test_a_committed_run_still_belongs_to_its_recipe(path):
    written = yaml.safe_load(path.read_text())["classifier"]
    recipe = load_recipe(path)
    check_owner(recipe, path.parent)
    if written.get("source"):
        return
    # of runs before optimiser and schedule were sections, and after
    former = "momentum" in written
    optimiser, schedule = (written, written) if former else (written["optimiser"], written["schedule"])
    asked = [written.get("adversarial", {"name": "none"})] if former else written["objective"]
    assert former or optimiser["name"] == "sgd"
    assert recipe.classifier.objective == tuple(asked)
    assert recipe.classifier.optimiser == Sgd(
        momentum=optimiser["momentum"], weight_decay=optimiser["weight_decay"]
    )
    assert recipe.classifier.schedule == Milestones(
        milestones=schedule["milestones"], decay_factor=schedule["decay_factor"]
    )
    purifier = yaml.safe_load(path.read_text())["purifier"]
    schedule = purifier.get("schedule", {"name": "constant"})["name"]
    assert (recipe.purifier.optimiser, recipe.purifier.schedule.name) == (Adam(), schedule)


def test_some_committed_run_is_of_the_former_form():
    written = [path.read_text() for path in RECIPES[0].parents[1].glob("results/**/recipe.yaml")]
    assert [text for text in written if "momentum" in yaml.safe_load(text)["classifier"]]


def test_a_defenders_seed_is_for_attackers():
    data = parse_recipe({"data": {"role": "attacker", "defender_seed": 3}}).data
    assert (data.role, data.defender_seed) == ("attacker", 3)
    with pytest.raises(InputError, match=r"data\.defender_seed.* is for role: attacker"):
        parse_recipe({"data": {"defender_seed": 3}})


def test_a_recipe_does_not_change():
    with pytest.raises(ValueError):
        Recipe().seed = 3


def test_other_dynamics_leave_thresholds_and_decay_alone():
    part = parse_recipe({"classifier": {"dynamics": "adaptivelif", "coding": "poisson"}}).classifier
    assert part.neurons() == {
        "time_steps": 4,
        "dynamics": "adaptivelif",
        "surrogate": "rectangle(width=1)",
    }
    assert list(parse_recipe({}).purifier.neurons()) == ["time_steps", "thresholds", "decay", "surrogate"]
    with pytest.raises(InputError, match=r"purifier.dynamics: .*leaves decay unused"):
        parse_recipe({"purifier": {"dynamics": "adaptivelif", "decay": 0.5}})


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"seed": True}, "seed"),
        ({"classifier": {"width": True}}, "classifier.width"),
        ({"classifier": {"optimiser": {"momentum": False}}}, "classifier.optimiser.momentum"),
        ({"purifier": {"gamma": False}}, "purifier.gamma"),
        ({"evaluation": {"diagnose": True}}, "evaluation.diagnose"),
    ],
)
def test_a_truth_value_is_no_number(values, place):
    with pytest.raises(InputError, match=rf"{place}: must be a number, got (True|False)"):
        parse_recipe(values)


@pytest.mark.parametrize("key", ["learning_rate", "weight_decay"])
def test_rates_that_a_float32_cannot_hold_are_refused(key):
    with pytest.raises(InputError, match=f"{key}.*less than or equal to"):
        parse_recipe({"classifier": {key: 1e300}})
