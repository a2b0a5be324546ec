"""What in one row contradicts what, and which rows look masked though nothing in them contradicts."""

from collections.abc import Callable, Iterator
from itertools import combinations

from purespike.budget import format_eps, same_eps
from purespike.evaluation.diagnostics.invariants import Measured, check_table
from purespike.results import Finding, Level
from purespike.results.vocabulary import attack_words, percent
from purespike.review.row import Entry, Row

Rule = Callable[[Row], Iterator[Finding]]
ATHALYE = "Athalye et al. 2018, Obfuscated Gradients Give a False Sense of Security"
CARLINI = "Carlini et al. 2019, On Evaluating Adversarial Robustness"
CROCE = "Croce & Hein 2020, Reliable Evaluation of Adversarial Robustness"
POINT = 0.01
ROUNDING = 1e-9
"""Below any difference that print shows: 0.2 - 0.15 is more than 0.05 to a computer."""
GAIN = 2 * POINT + ROUNDING
"""Difference of two accuracies that is no accident."""
GAP = 5 * POINT + ROUNDING
"""Robust accuracy that an attack of the same budget may lack to the worst case."""


def _finding(
    name: str, message: str, advice: str, source: str = CARLINI, level: Level = "suspicious"
) -> Finding:
    return Finding(name=name, group="table", level=level, message=message, advice=advice, source=source)


def contradictions(row: Row) -> Iterator[Finding]:
    """Pairs of numbers of which one must not exceed the other, by the invariants of every evaluation."""
    told = {"white_box": "undefended", "query": "query", "transfer": "transfer"}
    measured = [Measured("clean", threat, row.clean) for threat in told.values()]
    for each in row.entries:
        if not each.unbounded and each.eot == each.surrogates == 1:
            steps = each.steps or (None if attack_words(each.attack).rank else 1)
            threat = "query" if attack_words(each.attack).by_queries else told[each.threat]
            measured.append(
                Measured(
                    each.attack, threat, each.accuracy, each.eps, steps, each.norm, restarts=each.restarts
                )
            )
    # an attacker without gradients has a rule of its own, for images sent from other models as well
    yield from (
        found
        for found in check_table(measured)
        if found.level != "reliable" and found.name != "gradients are at least as strong as queries"
    )


def hardly_stronger(row: Row) -> Iterator[Finding]:
    """Several steps that break hardly more than one; at a small budget one step is nearly enough."""
    for one, many in _pairs(row):
        if attack_words(one.attack).rank != 0 or not one.by_gradient or not many.iterated:
            continue
        gain = one.accuracy - many.accuracy
        # an unnamed budget is hardly a small one
        large = many.norm == "linf" and (many.eps is None or many.eps >= 8 / 255 - ROUNDING)
        if gain < -ROUNDING or (gain < POINT - ROUNDING and large and many.accuracy > 0.2):
            yield _finding(
                "iterated ≥ single step" if gain < -ROUNDING else "iterated ≈ single step",
                f"{many}, {one}: several steps break {'less' if gain < 0 else 'hardly more'} than one",
                "the loss is not what the steps climb: try other surrogates, a smaller step, another loss",
                ATHALYE,
            )


def not_converged(row: Row) -> Iterator[Finding]:
    """An attack that still breaks more the longer it runs."""
    for attack in dict.fromkeys(entry.attack for entry in row.entries):
        runs = [each for each in row.entries if each.attack == attack and each.steps and each.by_gradient]
        runs.sort(key=lambda each: each.steps or 0)
        for before, last in zip(runs[-2:], runs[-1:], strict=False):
            longer = (last.steps or 0) > (before.steps or 0) >= 5
            # the last number is the end where a stronger attack does not go below it
            ended = any(last.accuracy - each.accuracy <= _gain(row) for each in _stronger(row, last))
            if longer and not ended and before.alike(last) and before.accuracy - last.accuracy > _gain(row):
                yield _finding(
                    "not converged",
                    f"{before}, {last}: more steps still break more",
                    "raise the steps until the number stays",
                )


def more_effort(row: Row) -> Iterator[Finding]:
    """An attack that breaks less with more passes, starts, queries or surrogates."""
    # two runs of a stochastic model differ by themselves
    noise = _gain(row) if row.stochastic else POINT / 20 + ROUNDING
    for one, other in _pairs(row):
        for what in ("eot", "surrogates", "queries"):
            less, more = getattr(one, what), getattr(other, what)
            same = one.attack == other.attack and one.steps == other.steps and one.threat == other.threat
            if None in (less, more) or not same or less >= more:
                continue
            if other.accuracy > one.accuracy + noise:
                yield _finding(
                    "more effort, weaker attack",
                    f"{other}, {one}",
                    "the attack that should be stronger failed: look at its gradients, steps and loss",
                )


def suite_gap(row: Row) -> Iterator[Finding]:
    """Iterated gradients that leave far more images robust than another attack of the same budget."""
    for weakest in row.entries:
        # a short run stands beside its longer ones, which are held against the stronger attack
        longer = any(
            each.attack == weakest.attack
            and each.by_gradient
            and each.alike(weakest)
            and each.accuracy < weakest.accuracy
            for each in row.entries
        )
        found = [] if longer or not weakest.iterated else _stronger(row, weakest)
        worst = min(found, key=lambda each: each.accuracy, default=weakest)
        if weakest.accuracy - worst.accuracy > _gap(row):
            yield _finding(
                f"{attack_words(worst.attack).title} gap",
                f"{weakest}, {worst}: {percent(weakest.accuracy - worst.accuracy)} points of the first are a "
                "failure of its attack",
                "quote the stronger attack alone",
                CROCE,
            )


def strong_in_name(row: Row) -> Iterator[Finding]:
    """An attack that is at least as strong as PGD by its name, its steps untold, and breaks far less."""
    for each in row.entries:
        if each.steps is not None or not each.iterated:
            continue
        rank = attack_words(each.attack).rank or 0
        for other in row.entries:
            held = other.alike(each) and other.iterated and other.attack != each.attack
            held = held and rank >= max(attack_words(other.attack).rank or 0, attack_words("pgd").rank or 0)
            if held and each.accuracy - other.accuracy > _gap(row):
                yield _finding(
                    "more effort, weaker attack",
                    f"{each}, {other}",
                    "the attack that should be stronger failed: ask for its steps, loss and images",
                    CROCE,
                )
                break


def random_start(row: Row) -> Iterator[Finding]:
    """Steps from the image itself that break more than steps from a random start."""
    for one, other in _pairs(row):
        both = one.attack in ("ifgsm", "mifgsm") and other.attack == "pgd" and other.by_gradient
        shorter = (one.steps or 0) <= (other.steps or one.steps or 0)
        if both and shorter and other.accuracy - one.accuracy > _gain(row):
            yield _finding(
                "no-random-start attack stronger",
                f"{one}, {other}",
                "the model is random, or flat around the image: average over passes, take restarts",
                ATHALYE,
            )


def untrained(row: Row) -> Iterator[Finding]:
    """Robustness without adversarial training, which has not been found yet to last."""
    for each in row.entries:
        large = each.norm == "linf" and (each.eps or 0) >= 4 / 255 - ROUNDING
        robust = large and each.iterated and each.accuracy > 10 * POINT + ROUNDING
        # a network that has learned next to nothing answers one class whatever it sees
        if row.training == "clean" and row.clean > 0.25 and robust:
            yield _finding(
                "no adversarial training",
                f"{each}, though nothing adversarial was trained on",
                "ask for surrogates of other shapes and widths, and for an attack without gradients",
                ATHALYE,
            )
            return


def small_training_budget(row: Row) -> Iterator[Finding]:
    """A large share robust to several times the budget that was trained on."""
    trained = row.training_eps
    for each in row.entries:
        if trained is None or each.eps is None or each.norm != "linf" or not each.iterated:
            continue
        if each.eps >= 3 * trained and each.accuracy > 0.4:
            yield _finding(
                "trained on a smaller budget",
                f"{each}, trained at eps {format_eps(trained)}",
                "ask for the numbers at the training eps, other surrogates and losses, and an attack without "
                "gradients",
            )
            return


def endless(row: Row) -> Iterator[Finding]:
    """Accuracy that stays while the budget grows to a multiple of what the row was trained on."""
    bounded = [each for each in row.entries if each.iterated and each.norm == "linf" and each.eps]
    for large in bounded:
        for small in bounded:
            assert large.eps is not None and small.eps is not None
            grown = large.eps >= 4 * max(small.eps, row.training_eps or 0) - ROUNDING
            if grown and large.accuracy > max(10 * POINT, small.accuracy / 2) + ROUNDING:
                yield _finding(
                    "accuracy does not fall with the budget",
                    f"{large}, {small}",
                    "accuracy must go to 0: the attack fails at the large budget, so do not trust it at the "
                    "small one (digits may stand where they were trained at the large one)",
                )
                return


def random_without_eot(row: Row) -> Iterator[Finding]:
    """A stochastic model whose gradients were taken from one pass."""
    single = [each for each in row.entries if each.by_gradient and each.eot == 1]
    if row.stochastic and single:
        yield _finding(
            "random without EOT",
            f"the model is stochastic, and {single[-1].title} takes its gradient from one pass",
            "average gradients over 20 passes and judge over 10",
            ATHALYE,
        )


def other_loss(row: Row) -> Iterator[Finding]:
    """C&W far from PGD at one budget, or without a bound and yet without success."""
    for each in (each for each in row.entries if each.attack == "cw"):
        if each.unbounded:
            if each.accuracy > GAP:
                yield _finding(
                    "an attack without a bound failed",
                    f"{each}, though it may change the image as much as it likes",
                    "its optimisation failed, or the images were not made on the model that was judged",
                )
            continue
        for other in row.entries:
            if not (other.attack == "pgd" and other.by_gradient and other.alike(each)):
                continue
            if other.accuracy - each.accuracy > 10 * POINT + ROUNDING:
                yield _finding(
                    "another loss far stronger", f"{each}, {other}", "take the margin loss in PGD too", CROCE
                )
            if each.accuracy - other.accuracy > 20 * POINT + ROUNDING:
                yield _finding(
                    "C&W failed", f"{each}, {other}", "more steps and a search of its constant", CARLINI
                )


def without_gradients(row: Row) -> Iterator[Finding]:
    """An attacker who cannot differentiate the model, and breaks more."""
    climbing = [each for each in row.entries if each.iterated]
    for each in row.entries:
        if each.by_gradient or each.unbounded:
            continue
        for other in climbing:
            if other.alike(each) and other.accuracy - each.accuracy > _gain(row):
                yield _finding(
                    "gradients are masked",
                    f"{each}, {other}: less knowledge breaks more",
                    "other surrogates and losses; quote the lowest number",
                    ATHALYE,
                )
                break


def surrogate_gap(row: Row) -> Iterator[Finding]:
    """Many images that only other surrogates of the spike's derivative break."""
    for one, other in _pairs(row):
        wider = other.surrogates > one.surrogates and other.by_gradient and one.iterated
        if wider and one.accuracy - other.accuracy > _gap(row):
            yield _finding(
                "masked by the surrogate",
                f"{one}, {other}",
                "the training surrogate's gradient hides them: quote the worst case over surrogates",
                ATHALYE,
            )


def no_gradient(row: Row) -> Iterator[Finding]:
    """Images at which the model has no gradient at all."""
    if row.zero_gradient is not None and row.zero_gradient > 0.5:
        yield _finding(
            "no gradient at all",
            f"the input gradient of {percent(row.zero_gradient)}% of the images is exactly 0",
            "an attack on it needs a straight-through derivative (BPDA), or none (Square)",
            ATHALYE,
            "unreliable",
        )


RULES: tuple[Rule, ...] = (
    contradictions,
    hardly_stronger,
    not_converged,
    more_effort,
    suite_gap,
    strong_in_name,
    random_start,
    untrained,
    small_training_budget,
    endless,
    random_without_eot,
    other_loss,
    without_gradients,
    surrogate_gap,
    no_gradient,
)


def _gain(row: Row) -> float:
    """Difference of two accuracies of a row that is no accident: more than one image, where they are few."""
    return GAIN if row.images is None else max(GAIN, 1.5 / row.images + ROUNDING)


def _gap(row: Row) -> float:
    """Difference of an attack's accuracy from the worst case that is no accident, nor small."""
    return max(GAP, _gain(row))


def _stronger(row: Row, entry: Entry) -> list[Entry]:
    """The numbers of one budget under gradient attacks that are stronger by construction."""
    rank = attack_words(entry.attack).rank or 0
    return [
        each
        for each in row.entries
        if each.alike(entry)
        and not each.unbounded
        and each.by_gradient
        and (attack_words(each.attack).rank or 0) > rank
    ]


def _pairs(row: Row) -> Iterator[tuple[Entry, Entry]]:
    """Two numbers of one budget, in both orders."""
    for one, other in combinations(row.entries, 2):
        if one.norm == other.norm and same_eps(one.eps, other.eps) and one.unbounded == other.unbounded:
            yield one, other
            yield other, one
