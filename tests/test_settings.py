"""One spelling of an evaluation's settings in Python, in recipes and in the shell."""

import inspect

import pytest

from purespike.cli.options import takes_settings
from purespike.errors import InputError
from purespike.recipe import parse_recipe
from purespike.settings import EvaluationSettings, Thresholds

SPELLINGS = {
    "attacks": (
        "fgsm, pgd:steps=20:step_size=2/255",
        ["fgsm", {"name": "pgd", "steps": 20, "step_size": "2/255"}],
    ),
    "eps": ("4/255, 8/255", ["4/255", "8/255"]),
    "curve_eps": ("0.1", [0.1]),
    "surrogates": ("atan(alpha=2), bptr", ("atan(alpha=2)", "bptr")),
    "losses": ("margin", ["margin"]),
    "threats": ("oblivious,adaptive", ["oblivious", "adaptive"]),
    "curve": ("pgd:steps=5", {"name": "pgd", "steps": 5}),
    "thresholds": ("gain=0.02,planted=0.9", {"gain": 0.02, "planted": 0.9}),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_text_and_a_list_say_the_same(name):
    text, value = SPELLINGS[name]
    assert [str(each) for each in _plain(EvaluationSettings.of(**{name: text}), name)] == [
        str(each) for each in _plain(EvaluationSettings.of(**{name: value}), name)
    ]
    recipe = parse_recipe({"evaluation": {name: text}}).evaluation
    assert getattr(recipe, name) == getattr(EvaluationSettings.of(**{name: text}), name)


def _plain(settings, name):
    value = getattr(settings, name)
    return value if isinstance(value, tuple) else [value]


def test_aliases():
    settings = EvaluationSettings.of(threat="all", limits={"gain": 0.5})
    assert settings.threats == ("all",) and settings.thresholds == Thresholds(gain=0.5)
    changed = EvaluationSettings.of(settings, threats="bpda", eps=0.1)
    assert changed.threats == ("bpda",) and changed.eps == (0.1,) and changed.thresholds.gain == 0.5


REFUSED = [
    ({"atacks": "fgsm"}, "unknown setting of an evaluation 'atacks': did you mean 'attacks'"),
    ({"eps": "8"}, "eps: .*write 8/255, not 8"),
    ({"eps": []}, "eps: .*give at least one budget"),
    ({"eps": "8/255,"}, "eps: .*neither a number nor a fraction"),
    ({"eps": -1, "norm": "l2"}, "eps: .*positive"),
    ({"images": 0}, "images: .*greater than or equal to 1, got 0"),
    ({"attacks": "pgd:steps"}, "attacks: .*name:key=value"),
    ({"attacks": 3}, "attacks: .*got 3"),
    ({"thresholds": "gane=1"}, "unknown threshold 'gane': did you mean 'gain'"),
    ({"thresholds": "gain=much"}, "thresholds: .*gain=0.02"),
    ({"eot": "x"}, "eot: .*integer"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=str)
def test_what_cannot_be_is_one_line(given, message):
    with pytest.raises(InputError, match=message) as caught:
        EvaluationSettings.of(**given)
    assert "\n" not in str(caught.value)


def test_every_setting_is_described_once_and_offered_in_the_shell():
    for name, field in EvaluationSettings.model_fields.items():
        assert field.description, name

    @takes_settings(suite="quick")
    def command(model: str, *, settings: dict) -> None:
        seen.append((model, settings))

    seen = []
    offered = inspect.signature(command).parameters
    assert set(offered) == {"model", *EvaluationSettings.model_fields}
    for name, field in EvaluationSettings.model_fields.items():
        (option,) = offered[name].annotation.__metadata__
        assert option.help == field.description
    nothing = dict.fromkeys(EvaluationSettings.model_fields)
    command(model="m", **{**nothing, "eps": "0.1"})
    assert seen == [("m", {"suite": "quick", "eps": "0.1"})]


def test_a_suite_takes_the_place_of_the_attacks_of_a_recipe():
    assert parse_recipe({}).evaluation.attacks[0] == {"name": "gaussian_noise"}
    by_suite = parse_recipe({"evaluation": {"suite": "full"}}).evaluation
    assert by_suite.attacks is by_suite.surrogates is by_suite.learned_bpda is None
    both = parse_recipe({"evaluation": {"suite": "full", "attacks": ["fgsm"]}}).evaluation
    assert both.attacks == ({"name": "fgsm"},) and both.surrogates is None


def test_a_mapping_is_settings_too():
    assert EvaluationSettings.of({"attacks": "fgsm"}, images=3) == EvaluationSettings.of(
        attacks="fgsm", images=3
    )
    with pytest.raises(InputError, match="settings: expected EvaluationSettings or a mapping, got str"):
        EvaluationSettings.of("quick")


def test_two_spellings_of_one_setting_are_refused():
    with pytest.raises(InputError, match="threat and threats: two spellings of one setting"):
        EvaluationSettings.of(threat="undefended", threats="adaptive")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"images": 0}, "images: Input should be greater than or equal to 1, got 0"),
        ({"eps": "8"}, "eps: must lie in [0, 1] in pixel units (1 = full range), got 8; write 8/255, not 8"),
        ({"imges": 3}, "imges: unknown, or given twice in two spellings"),
        ({"threat": "all", "threats": "bpda"}, "threat: unknown, or given twice in two spellings"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(values, says):
    with pytest.raises(InputError) as raised:
        EvaluationSettings(**values)
    assert str(raised.value) == says
