"""Whether images, classes, budgets and clean accuracy allow a conclusion at all."""

from collections import Counter
from collections.abc import Iterator

from scipy.stats import binomtest

from purespike.evaluation.diagnostics.examination import Examination, strongest
from purespike.evaluation.diagnostics.rule import rule
from purespike.results import Finding, Level, Score
from purespike.results.vocabulary import percent

# images below which an interval may span more than half of the scale
FEWEST = 10
# examined images below which the rules say nothing; as many admit planted adversarial images
FEWEST_EXAMINED = 4
# a clean accuracy this far below that of training, and by chance with this probability at most, is another
LOST, CHANCE = 0.05, 0.01
# half the distance of float32 numbers below 1: a step of it moves no bright pixel
UNSEEN = 2.0**-25


def _finding(name: str, level: Level, message: str, advice: str) -> Finding:
    words = {"group": "invariants", "source": "purespike"}
    return Finding(name=name, level=level, message=message, advice=advice, **words)


@rule(needs="nothing", order=5)
def check_evidence(e: Examination) -> Iterator[Finding]:
    """Can anything be concluded from these images, classes and budgets?

    Without a right image nothing was attacked and nothing examined; of few images an interval says nearly
    nothing; a model no better than a constant answer is as robust as that; at eps 0 nobody attacks.
    """
    right = e.clean.get("defended")
    if not right:
        return
    yield from [*_images(e), *_examined(e), *_attacks(e), *_training(e)] or [
        _finding(
            "enough to conclude from",
            "reliable",
            f"{sum(right)} of {len(right)} images of {len(set(e.truth))} classes are classified correctly "
            "when clean",
            "",
        )
    ]


def _images(e: Examination) -> Iterator[Finding]:
    score, counts = Score.of(e.clean["defended"]), Counter(e.truth)
    if e.missing_classes:
        names = ", ".join(map(str, e.missing_classes[:10])) + (" …" if len(e.missing_classes) > 10 else "")
        yield _finding(
            "classes of the sample",
            "suspicious",
            f"the {score.n} images hold none of class {names}, which the data have: nothing is known of it",
            "attack more images",
        )
    if not score.correct:
        yield _finding(
            "something to attack",
            "unreliable",
            f"none of {score.n} images is classified correctly when clean: no attack had anything to break, "
            "and nothing was examined",
            "check weights, channel order, value range and labels",
        )
    elif len(counts) == 1 and score.n > 1:
        yield _finding(
            "more than one class",
            "unreliable",
            f"all {score.n} images are of class {e.truth[0]}: a model that always answers so is never broken",
            "attack images of all classes",
        )
    elif score.n < FEWEST:
        yield _finding(
            "number of images",
            "suspicious",
            f"of {score.n} image{'s' if score.n > 1 else ''} nothing can be concluded: even clean accuracy "
            f"is only known to lie in {score.interval}%",
            "attack at least a hundred images",
        )
    elif counts and _is_chance(score, counts, e.thresholds.significance):
        most = max(counts.values()) / score.n
        yield _finding(
            "better than chance",
            "unreliable",
            f"clean accuracy, {score.text}%, is not significantly better than the {percent(most)}% of always "
            "answering the most frequent class: nothing can be concluded on the robustness of such a model",
            "check weights, channel order, value range and labels",
        )


def _examined(e: Examination) -> Iterator[Finding]:
    if 0 < len(e) < FEWEST_EXAMINED:
        yield _finding(
            "number of examined images",
            "suspicious",
            f"the attack was examined on {len(e)} image{'s' if len(e) > 1 else ''}: so few do not tell "
            "whether it did what it could",
            "leave diagnose out, or examine 32 images",
        )


def _is_chance(score: Score, counts: Counter[int], significance: float) -> bool:
    most = max(counts.values()) / score.n
    return bool(binomtest(score.correct, score.n, most, alternative="greater").pvalue > significance)


def _attacks(e: Examination) -> Iterator[Finding]:
    attacked = [cell for cell in e.cells if cell.norm != "noise"]
    if not attacked:
        yield _finding(
            "an attacker",
            "suspicious",
            "no attack was run under these threat models: noise says nothing of an attacker",
            "add fgsm and pgd, and the threat model adaptive",
        )
    elif e.jobs and strongest(e.jobs) is None:
        yield _finding(
            "an attack that can be examined",
            "suspicious",
            "no attack takes untargeted gradient steps: nothing tells whether those in the table did what "
            "they could",
            "add pgd:steps=20",
        )
    elif not any(cell.eps is None or cell.eps > UNSEEN for cell in attacked):
        yield _finding(
            "a budget above zero",
            "unreliable",
            "every budget is 0, or lost in the rounding of pixels: an attacker who may change nothing breaks "
            "nothing",
            "attack at eps 8/255, say",
        )


def _training(e: Examination) -> Iterator[Finding]:
    recorded = e.trained_accuracy
    if recorded is None:
        return
    score = Score.of(e.clean["undefended"])
    chance = binomtest(score.correct, score.n, min(recorded, 1.0), alternative="less").pvalue
    if score.accuracy < recorded - LOST and chance <= CHANCE:
        yield _finding(
            "as accurate as in training",
            "suspicious",
            f"the classifier is right on {score.text}% of the clean images, and was on {percent(recorded)}% "
            "of the test images when it was trained",
            "the images of its training? the same preparation? undamaged weights?",
        )
