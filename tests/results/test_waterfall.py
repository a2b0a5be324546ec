"""Waterfalls and worst cases equal a plain count, image by image."""

import itertools

import numpy as np
import pytest

from purespike.errors import InputError
from purespike.results import Evaluation, Score
from purespike.results.vocabulary import THREATS
from purespike.results.waterfall import attack_waterfall, threat_waterfall

N = 50
EPS = 8 / 255
END_TO_END = ("oblivious", "bpda", "adaptive", "transfer", "query")


def random_evaluation(*, norm: str = "linf", purifier: bool = True) -> Evaluation:
    """Attacks in no order, under all threat models, with random outcomes."""
    draw = np.random.default_rng(11)

    def column() -> list[int]:
        return [int(bit) for bit in draw.random(N) < 0.9]

    cells = []
    for (attack, steps), threat in itertools.product(
        (("autoattack", 100), ("pgd", 50), ("pgd", 7), ("fgsm", 1), ("apgd_ce", 100), ("spsa", 20)),
        THREATS if purifier else ("undefended",),
    ):
        for eps, bound in ((EPS, norm), (2 * EPS, norm), (None, "noise")):
            about = {
                "attack": attack,
                "threat": threat,
                "eps": eps,
                "norm": bound,
                "settings": {"steps": steps},
            }
            bits = column()
            cells.append({**about, "outcomes": bits, "score": Score.of(bits)})
    clean = {"undefended": column(), "defended": column()}
    return Evaluation(
        schema=1,
        model={"classifier": {}, "purifier": {} if purifier else None},
        data={"source": "digits", "n": N},
        settings={"eps": [EPS]},
        clean={name: Score.of(bits) for name, bits in clean.items()},
        clean_outcomes=clean,
        cells=cells,
    )


def counts(evaluation: Evaluation, clean: str, stages: list[list[tuple[str, int, str]]]) -> list[int]:
    """Robust images after each stage; a stage is a list of attacks, steps and threat models."""
    alive = [bool(bit) for bit in getattr(evaluation.clean_outcomes, clean)]
    found = [sum(alive)]
    for stage in stages:
        for cell in evaluation.cells:
            who = (cell.attack, cell.steps, cell.threat)
            if who in stage and cell.eps == EPS and cell.norm != "noise":
                alive = [a and bit == 1 for a, bit in zip(alive, cell.outcomes, strict=True)]
        found.append(sum(alive))
    return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("threat", ["undefended", "adaptive", "transfer"])
def test_attack_waterfall_is_a_plain_count(norm: str, threat: str) -> None:
    evaluation = random_evaluation(norm=norm)
    steps = attack_waterfall(evaluation, EPS, threat)
    order = [("fgsm", 1), ("pgd", 7), ("pgd", 50), ("apgd_ce", 100), ("spsa", 20), ("autoattack", 100)]
    labels = ["clean", "FGSM", "PGD-7", "PGD-50", "APGD-CE-100", "SPSA-20", "AutoAttack"]
    clean = "undefended" if threat == "undefended" else "defended"
    stages = [[(attack, count, threat)] for attack, count in order]
    if threat == "adaptive":
        # the worst case of the attacker who has everybody's images
        labels.append("other threat models\nor smaller eps")
        stages.append([(*attack, other) for attack in order for other in END_TO_END])
    assert [step.label for step in steps] == labels
    assert [step.robust for step in steps] == counts(evaluation, clean, stages)
    for before, after in itertools.pairwise(steps):
        assert after.broken == before.robust - after.robust >= 0


def test_threat_waterfall_ends_at_the_worst_case() -> None:
    evaluation = random_evaluation()
    steps = threat_waterfall(evaluation, EPS)
    order = ["oblivious", "transfer", "query", "bpda", "adaptive"]
    attacks = {(cell.attack, cell.steps) for cell in evaluation.cells}
    stages = [[(*attack, threat) for attack in attacks] for threat in order]
    assert [step.label.lower() for step in steps] == ["clean", *order]
    assert [step.robust for step in steps] == counts(evaluation, "defended", stages)
    assert evaluation.end_to_end_threats == ("oblivious", "bpda", "adaptive", "transfer", "query")


def test_without_a_purifier_undefended_attacks_are_end_to_end() -> None:
    evaluation = random_evaluation(purifier=False)
    assert evaluation.end_to_end_threats == ("undefended",)
    worst = evaluation.worst_case_at(EPS, ["undefended"])
    assert worst is not None and worst.sum() < N
    assert evaluation.worst_case_at(EPS, ["adaptive"]) is None


def test_escalated_budgets_are_marked() -> None:
    evaluation = random_evaluation()
    content = evaluation.to_json()
    first = next(c for c in content["cells"] if c["attack"] == "pgd" and c["threat"] == "adaptive")
    content["cells"].append({**first, "settings": {"steps": 80}, "raised_from": 20})
    stages = attack_waterfall(Evaluation.from_json(content), EPS, "adaptive")
    assert "PGD-80\n(raised)" in [stage.label for stage in stages]


def test_without_outcomes_or_attacks_there_is_no_waterfall() -> None:
    evaluation = random_evaluation()
    with pytest.raises(InputError, match="no attack was run at eps 3/255"):
        threat_waterfall(evaluation, 3 / 255)
    with pytest.raises(InputError, match="under threat model telepathic"):
        attack_waterfall(evaluation, EPS, "telepathic")
    bare = evaluation.model_copy(update={"clean_outcomes": None})
    with pytest.raises(InputError, match="clean images were not kept"):
        threat_waterfall(bare, EPS)
    content = evaluation.to_json()
    content["cells"][0]["outcomes"] = []
    with pytest.raises(InputError, match="0 of 50 images"):
        Evaluation.from_json(content).worst_case_at(EPS, THREATS)
