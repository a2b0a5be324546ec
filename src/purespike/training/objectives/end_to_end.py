"""Training of a purifier through the whole: each step attacks the defended model and trains against that."""

import functools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from purespike.attacks import create_attack
from purespike.attacks.bpda import GuessBackward, guess_of, guessing_purifier, own_purifier
from purespike.attacks.gradient import SignAttack
from purespike.attacks.objective import cross_entropy
from purespike.ball import L0
from purespike.budget import PARSERS
from purespike.errors import InputError
from purespike.models.output import OUTPUTS
from purespike.neurons import parse_surrogate
from purespike.seeding import generator
from purespike.training.objectives.adversarial import taking_turns
from purespike.training.objectives.batch import Batch, Step, View, count_correct
from purespike.training.objectives.features import Features
from purespike.training.objectives.gaussian import answers, draw_sigma
from purespike.training.objectives.guesses import Guesses
from purespike.training.objectives.noise_fgsm import noise_fgsm
from purespike.training.objectives.overfitting import Guard
from purespike.training.objectives.registry import Objective, Stage, objective
from purespike.training.objectives.trades import divergence

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
DENOISE = 0.2
"""Share of the training that begins with pixels alone, without an encoder."""
BLUR = 0.3
"""Noise on what a purifier paints without a path from the image."""
OTHERS = ("triangle(width=1)", "exponential(alpha=2)", "gaussian(width=0.5)")


def paints_anew(model: nn.Module) -> bool:
    """Whether ``model`` has a purifier whose output stage lets nothing of the image pass."""
    purifier = own_purifier(model)
    return purifier is not None and purifier.output is OUTPUTS["reconstruction"]


@objective("end_to_end", stage="purifier")
class EndToEnd(Objective):
    r"""The loss of the defended model on the worst images that an attack on the whole of it finds.

    With P the purifier, f the frozen classifier, x a clean image, y its class and x' the attacked image:

    .. math:: w_1 CE(f(P(x')), y) + w_2 CE(f(P(x)), y) + w_3 KL(f(x) \| f(P(x'))) + w_4 KL(f(x) \| f(P(x)))
        + w_5 KL(f(P(x)) \| f(P(x'))) + w_6 |φ(P(x')) - φ(P(x))| + w_7 |P(x') - x| + w_8 CE(g(x'), y)

    A purifier trained on examples against the classifier alone does not see the attacker that it will meet,
    nor its own risk (Zhou et al., arXiv 2106.05453). The attack differentiates purifier and classifier, with
    one surrogate after the other. A purifier with an encoder has a guess g of its own
    (:class:`~purespike.models.encoder_decoder.EncoderDecoder`): trained and attacked there as well, it learns
    what an adversarially trained classifier learns, which the way through a frozen classifier hardly teaches.
    Its decoder is then asked for what the guess says, and not for y: of most attacked images y can no longer
    be told, and a decoder that is asked for it paints the few classes that are safe bets.

    Args:
        eps: L∞ budget of the attack, in pixel units; of ``flips`` a number of pixels, of event frames bins.
        attack: ``"n_fgsm"`` (:mod:`~purespike.training.objectives.noise_fgsm`), ``"pgd"``, or ``"flips"``.
        steps: steps of PGD, each of 1.25 eps / steps, and of flips, from a random start.
        surrogates: surrogates of the attack, which take turns.
        ramp: share of the training in which the budget rises from 0 to eps.
        denoise: share of the training, at its beginning, in which the purifier learns to remove Gaussian
            noise instead, or in L0 random flips, four times the budget at most: an output stage without a
            path from the image has to learn images first. ``None`` for none with an encoder, else a fifth.
        sigma: largest standard deviation of that noise.
        clean_share: share of each batch that is shown without an attack: images with a flat background look
            to spiking neurons like none with noise on it, and are misread if they were never seen.
        labels: whether y is the label; else what the classifier says of the clean image.
        painting: what w₁ asks of the paintings of a purifier whose guess is trained: its ``"guess"``
            argmax g(x') in place of y, or the ``"class"`` y.
        apart: whether w₈ alone trains the encoder: the gradients of all other terms then stop there. ``None``
            where the painting is asked for the guess, which the encoder could otherwise make easier to paint
            in place of right.
        ce: w₁.
        clean_ce: w₂.
        kl: w₃.
        clean_kl: w₄.
        trades: w₅, the divergence of TRADES (Zhang et al. 2019).
        features: w₆, mean absolute difference of what the classifier's last linear layer gets.
        pixel: w₇ at first, mean absolute difference of pixels; falls to 0 linearly.
        guess: w₈, of a purifier with an encoder (``network: encoder_decoder``); others have no guess.
        guided: share of the batches of such a purifier that are attacked by way of the guess: half of them
            until the guess is wrong, half until the classifier is
            (:class:`~purespike.attacks.bpda.GuessBackward`).
        blur: standard deviation of Gaussian noise on the purified images that the classifier is shown in the
            loss, in pixel units: what it reads there is painted so that it bears a difference. ``None`` for
            0.3 where the purifier paints anew (``output: reconstruction``), else 0: a classifier that has
            never seen noise reads nothing of an image that passes with it.
        guard: held-out training images that are watched for catastrophic overfitting
            (:mod:`~purespike.training.objectives.overfitting`), 0 for none; PGD-2 takes over if it comes.

    Raises:
        InputError: no surrogate, an unknown one, none left to the guard, or no term at all.
    """

    crafted, reaches_classifier = False, True

    def __init__(
        self,
        *,
        eps: float | str = "8/255",
        attack: Literal["n_fgsm", "pgd", "flips"] = "pgd",
        steps: Annotated[int, Field(ge=1, le=1000)] = 2,
        surrogates: Annotated[tuple[str, ...], Field(min_length=1)] = ("rectangle(width=1)", "atan(alpha=2)"),
        ramp: Share = 0.25,
        denoise: Share | None = None,
        sigma: Annotated[float, Field(gt=0, le=1)] = 0.25,
        clean_share: Share = 0.1,
        labels: bool = True,
        painting: Literal["guess", "class"] = "guess",
        apart: bool | None = None,
        ce: Weight = 1.0,
        clean_ce: Weight = 0.0,
        kl: Weight = 0.0,
        clean_kl: Weight = 0.0,
        trades: Weight = 0.0,
        features: Weight = 0.0,
        pixel: Weight = 1.0,
        guess: Weight = 1.0,
        guided: Annotated[float, Field(ge=0, le=1)] = 0.5,
        blur: Annotated[float, Field(ge=0, le=10)] | None = None,
        guard: Annotated[int, Field(ge=0, le=100_000)] = 256,
    ) -> None:
        self.norm = "l0" if attack == "flips" else "linf"
        self.eps, self.surrogates = (
            PARSERS[self.norm](eps),
            tuple(str(parse_surrogate(s)) for s in surrogates),
        )
        self.steps = 1 if attack == "n_fgsm" else steps
        self.single, self.ramp, self.denoise, self.sigma = attack == "n_fgsm", ramp, denoise, sigma
        self.clean_share, self.labels, self.painting = clean_share, labels, painting
        self.apart = painting == "guess" if apart is None else apart
        self.ce, self.clean_ce, self.kl, self.clean_kl = ce, clean_ce, kl, clean_kl
        self.trades, self.features, self.pixel, self.held_out = trades, features, pixel, guard
        self.guess, self.guided, self.blur = guess, guided, blur
        if not self.eps > 0:
            raise InputError("eps must be positive; objective paper trains against no attack on the whole")
        if not any((ce, clean_ce, kl, clean_kl, trades, features)):
            raise InputError("every weight is 0 but perhaps that of the pixels: nothing asks for robustness")
        other = next((name for name in OTHERS if name not in self.surrogates), None)
        if guard and other is None:
            raise InputError(f"surrogates: leave one of {', '.join(OTHERS)} to the guard, or set guard to 0")
        self.guard = Guard(other or self.surrogates[0], self.eps, self.norm)

    def __call__(self, batch: Batch) -> Step:
        purifier = guessing_purifier(batch.network)
        denoise = self.denoise
        if denoise is None:
            denoise = DENOISE if purifier is None else 0.0
        if batch.progress < denoise:
            return self._denoise(batch)
        wanted = functools.cache(partial(answers, batch))
        share = (batch.progress - denoise) / (1 - denoise)
        labels = batch.labels if self.labels else wanted().argmax(1)
        attacked = self._attack(batch, labels, min(share / self.ramp, 1.0) if self.ramp else 1.0)
        paired = any((self.clean_ce, self.clean_kl, self.trades, self.features))
        encoder = None if purifier is None or not self.guess else purifier.encoder
        with Guesses(encoder, apart=self.apart) as guesses:
            views = batch.forward(attacked, batch.clean) if paired else batch.forward(attacked)
        found = None if guesses.value is None else guesses.value[: len(attacked)]
        asked = labels if found is None or self.painting == "class" else found.argmax(1)
        terms, right = self._terms(batch, views, asked, labels, wanted, 1 - share)
        if found is not None:
            terms["guess"] = (self.guess, batch.criterion(found, labels))
            right["guess_accuracy"] = count_correct(found, batch.labels)
        loss = torch.stack([weight * value for weight, value in terms.values()]).sum()
        shown = {name: value.detach() for name, (_, value) in terms.items()}
        return Step(loss, right, shown, passes=self.steps + len(views) + wanted.cache_info().currsize)

    def _terms(
        self,
        batch: Batch,
        views: list[View],
        asked: Tensor,
        labels: Tensor,
        wanted: Callable[[], Tensor],
        pixel: float,
    ) -> tuple[dict[str, tuple[float, Tensor]], dict[str, Tensor]]:
        """Weight and value of every term that counts, and the numbers of images that were right.

        ``asked`` is what the attacked images are to be painted as; ``wanted`` gives what the classifier says
        about the clean images, and is called only if need be.
        """
        with Features(batch.classifier, wanted=self.features > 0) as features:
            logits = [self._shown(view) for view in views]
        moved, clean = logits[0], logits[-1]
        terms: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "ce": (self.ce, partial(batch.criterion, moved, asked)),
            "clean_ce": (self.clean_ce, partial(batch.criterion, clean, labels)),
            "kl": (self.kl, lambda: divergence(wanted(), moved).mean()),
            "clean_kl": (self.clean_kl, lambda: divergence(wanted(), clean).mean()),
            "trades": (self.trades, lambda: divergence(clean, moved).mean()),
            "features": (self.features, lambda: functional.l1_loss(*features.pair())),
            "pixel": (self.pixel * pixel, lambda: functional.l1_loss(views[0].outputs.images, batch.clean)),
        }
        right = {"adversarial_accuracy": count_correct(moved, batch.labels)}
        if len(views) > 1:
            right["accuracy"] = count_correct(clean, batch.labels)
        return {name: (weight, value()) for name, (weight, value) in terms.items() if weight > 0}, right

    def _shown(self, view: View) -> Tensor:
        """What the classifier says of the purified images, blurred."""
        blur = self.blur
        if blur is None:
            blur = BLUR if paints_anew(view.batch.network) else 0.0
        if blur:
            images = view.outputs.images
            blurred = images + blur * torch.randn_like(images)
            view = replace(view, outputs=view.outputs._replace(images=blurred))
        return view.logits

    def _attack(self, batch: Batch, labels: Tensor, scale: float) -> Tensor:
        """The images of a batch, all but a share of them moved by an attack of ``scale`` times the budget."""
        eps, left = scale * self.eps, round(self.clean_share * len(batch.clean))
        if eps == 0:
            return batch.clean
        images, labels = batch.clean[left:], labels[left:]
        return torch.cat((batch.clean[:left], self._attacked(batch, images, labels, eps)))

    def _attacked(self, batch: Batch, images: Tensor, labels: Tensor, eps: float) -> Tensor:
        network = self._way(batch)
        with taking_turns(batch, self.surrogates):
            if self.single and not self.guard.tripped:
                loss = partial(cross_entropy, labels=labels)
                return noise_fgsm(network, images, loss, eps=eps, seed=batch.seed)
            steps = max(self.steps, 2) if self.guard.tripped else self.steps
            if self.norm == "l0":
                attack = create_attack("flips", eps=max(1, round(eps)), steps=steps, seed=batch.seed)
                assert isinstance(attack, SignAttack)
                return attack.perturb(network, images, labels)
            attack = SignAttack(steps=steps, eps=eps, step_size=min(1.25 / steps, 1) * eps, random_start=True)
            return replace(attack, seed=batch.seed).perturb(network, images, labels)

    def _way(self, batch: Batch) -> nn.Module:
        """The network whose gradient an attack follows: the whole, or in turn both ways by the guess."""
        whole, guess = batch.network, guess_of(batch.network)
        if guess is None:
            return whole
        drawn = float(torch.rand((), generator=generator(batch.seed, "guided")))
        if drawn >= self.guided:
            return whole
        return guess if drawn < self.guided / 2 else GuessBackward(whole, guess)

    def _denoise(self, batch: Batch) -> Step:
        """Removal of Gaussian noise, of another deviation in each image, or of flips, by the pixels alone.

        The classifier's answer misleads an untrained purifier: it soon paints whatever gets the class right,
        and what an attack finds in such pictures undoes it.
        """
        clean = batch.clean
        if self.norm == "l0":
            draws = generator(batch.seed, "denoise")
            count = int(torch.randint(1, 4 * int(self.eps) + 1, (1,), generator=draws))
            noisy = L0(count).point(clean, draws)
        else:
            noisy = clean + draw_sigma(clean, (0, self.sigma)) * torch.randn_like(clean)
        (view,) = batch.forward(noisy)
        return Step(functional.l1_loss(view.outputs.images, clean))

    def after_epoch(self, stage: Stage, epoch: int) -> dict[str, float]:
        return self.guard.look(stage, epoch) if self.held_out else {}

    def state(self) -> dict[str, Tensor]:
        return self.guard.state() if self.held_out else {}

    def restore(self, stage: Stage, state: dict[str, Any]) -> None:
        if self.held_out:
            self.guard.restore(state)
