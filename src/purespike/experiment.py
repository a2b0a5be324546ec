"""A run from data to report; every stage whose result is in the run folder is skipped."""

import contextlib
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from accelerate import Accelerator
from torch import nn

from purespike.attacks import create_attack
from purespike.data import Data, ImageSet, attacker_data, defender_data, load_data
from purespike.data.roles import labelled_for
from purespike.environment import provenance
from purespike.errors import InputError, unknown
from purespike.evaluation import evaluate
from purespike.evaluation.examples import example_images
from purespike.evaluation.inputs import check_beside
from purespike.evaluation.plan import parse_budgets, plan_jobs, resolve
from purespike.evaluation.threat import select_threats
from purespike.events import BackgroundActivityFilter
from purespike.files import write_json, write_text
from purespike.models import Defended, SpikingClassifier, list_models, load, save
from purespike.models.coding import parse_coding
from purespike.models.layers import NeuronConfig
from purespike.models.released import with_released
from purespike.models.resolve import resolve as resolve_model
from purespike.recipe import Recipe, load_recipe
from purespike.reporting.artefacts import write_artefacts
from purespike.results import Evaluation, Provenance
from purespike.run_folder import check_owner, in_use
from purespike.tensors import stored_types
from purespike.training import train_classifier, train_purifier
from purespike.training.engine import main_first
from purespike.training.objectives import create_objective
from purespike.training.origin import KEY, check_origin, compare, handed_over, origin_of, weights_of
from purespike.training.tracking import Tracking


class Run:
    """A run folder and the stages that fill it.

    Args:
        recipe: settings that determine every number.
        folder: run folder, made if missing.
        accelerator: device, precision and processes.
        half: write the trained weights in half precision; they are then the ones that are evaluated.
        track: tracker that gets the scalars of history and evaluation, ``"tensorboard"``; ``None`` for none.

    Raises:
        InputError: the folder belongs to another recipe, or is not a run folder; an unknown tracker, or a
            missing extra.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        accelerator: Accelerator,
        *,
        half: bool = False,
        track: str | None = None,
    ) -> None:
        self.recipe, self.folder, self.accelerator, self.half = recipe, folder, accelerator, half
        self.tracking = None if track is None else Tracking(track, folder, accelerator)
        self._follow = None if self.tracking is None else self.tracking.follow
        self._alone, self._claimed = contextlib.ExitStack(), False
        check_owner(recipe, folder)
        _check_names(recipe)

    def data(self) -> Data:
        """Load the data, and claim the folder once they are loaded."""
        # one process decodes and caches, the others read the cache
        with main_first(self.accelerator):
            data = load_data(self.recipe.data.source)
        data = share_of(self.recipe, data)
        self.claim()
        return data

    def claim(self) -> None:
        """Keep other processes out of the folder, and write the recipe.

        Raises:
            InputError: another process works in the folder.
        """
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            if not self._claimed:
                # held until the run ends, or nobody holds this object any more
                self._alone.enter_context(in_use(self.folder))
                self._claimed = True
            write_text(self.folder / "recipe.yaml", self.recipe.to_yaml())
            if self.tracking is not None:
                self.tracking.begin()
        self.accelerator.wait_for_everyone()

    def _write_environment(self) -> None:
        """Write the environment of a stage that is about to be computed; one that is read keeps its own."""
        if self.accelerator.is_main_process:
            origin = provenance(seed=self.recipe.seed, device=self.accelerator.device)
            write_json(self.folder / "environment.json", origin)

    def classifier(self, data: Data) -> nn.Module:
        """Train the classifier, or read it; or take the one that the recipe names.

        Raises:
            InputError: as :func:`purespike.models.resolve.resolve` and :meth:`adopt`.
        """
        if self._given is not None:
            return self.adopt(self._given)
        return self._stage(
            "classifier",
            lambda: train_classifier(
                self.recipe.classifier,
                data,
                folder=self.folder,
                seed=self.recipe.seed,
                accelerator=self.accelerator,
                follow=self._follow,
            ),
            origin_of("classifier", self.recipe.classifier, data.train, seed=self.recipe.seed),
        )

    @functools.cached_property
    def _given(self) -> nn.Module | None:
        """The classifier that the recipe names, made once; ``None`` where it is trained here."""
        source = self.recipe.classifier.source
        return None if source is None else resolve_model(source)

    def adopt(self, classifier: nn.Module) -> nn.Module:
        """Use a given classifier in place of the recipe's; one of purespike's is kept in the folder.

        Raises:
            InputError: the folder holds another one.
        """
        path = self.folder / "classifier.safetensors"
        classifier = classifier.to(self.accelerator.device)
        if path.exists():
            kept, given = load(path).state_dict(), classifier.state_dict()
            same = kept.keys() == given.keys()
            if not same or not all(torch.equal(kept[key], given[key].cpu()) for key in kept):
                raise InputError(f"{path}: is another classifier than the one given; choose another --out")
        elif isinstance(classifier, SpikingClassifier) and self.accelerator.is_main_process:
            save(classifier, path, metadata={KEY: json.dumps(handed_over(), sort_keys=True)})
        self.accelerator.wait_for_everyone()
        return classifier

    def purifier(self, data: Data, classifier: nn.Module) -> nn.Module:
        """Train the purifier against ``classifier``, or read it; a filter without weights is only made.

        What the recipe releases of ``classifier`` is changed in place.
        """

        def make() -> nn.Module:
            if self.recipe.purifier.architecture == "background_activity":
                return BackgroundActivityFilter()
            return train_purifier(
                self.recipe.purifier,
                classifier,
                data.train,
                folder=self.folder,
                seed=self.recipe.seed,
                accelerator=self.accelerator,
                follow=self._follow,
            )

        purifier = self._stage(
            "purifier",
            make,
            origin_of(
                "purifier",
                self.recipe.purifier,
                data.train,
                seed=self.recipe.seed,
                classifier=classifier,
            ),
        )
        with_released(classifier, self.folder)
        return purifier

    def evaluation(self, data: Data, model: Defended) -> Evaluation:
        """Run the evaluation of the recipe, or read its result."""
        path = self.folder / "evaluation.json"
        made_of = {
            "data": data.test.fingerprint(),
            "classifier": weights_of(model.classifier),
            "purifier": weights_of(model.purifier),
        }
        if path.exists():
            try:
                kept = Evaluation.read(path)
            except InputError as error:
                raise InputError(f"{error}; delete it to evaluate again") from None
            compare(path, kept.provenance and (kept.provenance.model_extra or {}).get("made_of"), made_of)
            return kept
        self._write_environment()
        result = evaluate(
            model,
            data.test,
            self.recipe.evaluation,
            seed=self.recipe.seed,
            accelerator=self.accelerator,
            folder=self.folder / "checkpoint" / "evaluation",
        )
        if self.accelerator.is_main_process:
            seed, device = self.recipe.seed, self.accelerator.device
            shown = example_images(model, data.test, self.recipe.evaluation, seed=seed, device=device)
            shown.save(self.folder / "samples.npz")
            origin = (result.provenance or Provenance()).model_copy(update={"made_of": made_of})
            result = result.model_copy(update={"provenance": origin})
            result.save(path)
        self.accelerator.wait_for_everyone()
        return result

    def check_beside(self, data: Data, beside: Mapping[str, Evaluation]) -> None:
        """Check before anything is trained that other evaluations are of the images that this run attacks.

        Args:
            data: images of the run.
            beside: other evaluations by name.

        Raises:
            InputError: other images, or another budget.
        """
        test = data.test if self._given is None else labelled_for(self._given, data.test)
        check_beside(beside, test, self.recipe.evaluation, seed=self.recipe.seed)

    def report(self, beside: Mapping[str, Evaluation] | None = None) -> Path:
        """Write ``report.html`` with figures, tables, cards and outcomes from the results in the folder.

        Args:
            beside: evaluations of other runs by name, to compare with: part of the report, not of the recipe.

        Raises:
            InputError: an evaluation of other images, or at another budget.
        """
        path = self.folder / "report.html"
        if self.accelerator.is_main_process:
            evaluation = Evaluation.read(self.folder / "evaluation.json")
            name = self.folder.absolute().name
            path = write_artefacts(evaluation, self.folder, name=name, beside=beside)
        self.accelerator.wait_for_everyone()
        return path

    def __call__(self, beside: Mapping[str, Evaluation] | None = None) -> tuple[Evaluation, Path]:
        """All stages in order.

        Args:
            beside: as for :meth:`report`; what cannot be compared is refused before anything is trained.
        """
        with self:
            data = self.data()
            if beside:
                self.check_beside(data, beside)
            classifier = self.classifier(data)
            purifier = self.purifier(data, classifier)
            model = Defended(purifier, classifier).to(self.accelerator.device).eval()
            evaluation = self.evaluation(data, model)
            if self.tracking is not None:
                self.tracking.evaluated(evaluation)
            return evaluation, self.report(beside)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let other processes into the folder."""
        if self.tracking is not None:
            self.tracking.end()
        self._alone.close()
        self._claimed = False

    def _stage(self, name: str, train: Callable[[], nn.Module], origin: dict[str, Any]) -> nn.Module:
        path = self.folder / f"{name}.safetensors"
        if path.exists():
            check_origin(path, origin)
            halved = "F16" in stored_types(path)
            if self.half != halved:
                how, mend = ("half", "add --half") if halved else ("full", "leave --half out")
                raise InputError(f"{path}: was written in {how} precision; {mend}, or delete it")
        else:
            self._write_environment()
            model = train()
            if self.accelerator.is_main_process:
                save(model, path, metadata={KEY: json.dumps(origin, sort_keys=True)}, half=self.half)
            self.accelerator.wait_for_everyone()
        # read back in either case, so that the model on disk is the one evaluated
        return load(path).to(self.accelerator.device)


def share_of(recipe: Recipe, data: Data) -> Data:
    """The training and test images of a run of ``recipe``.

    Raises:
        InputError: as :func:`purespike.data.attacker_data` raises.
    """
    settings = recipe.data
    if settings.role == "defender":
        return defender_data(
            data, train_limit=settings.train_limit, test_limit=settings.test_limit, seed=recipe.seed
        )
    return attacker_data(
        data,
        train_limit=settings.train_limit,
        test_limit=settings.test_limit,
        attacked=recipe.evaluation.images,
        limit=settings.attacker_limit,
        seed=recipe.seed if settings.defender_seed is None else settings.defender_seed,
    )


def recipe_of(place: str | Path) -> Recipe | None:
    """The recipe of a run folder, or of a checkpoint in one; ``None`` elsewhere.

    Raises:
        InputError: the recipe is damaged.
    """
    folder = Path(place).parent if Path(place).is_file() else Path(place)
    path = folder / "recipe.yaml"
    return load_recipe(path) if path.is_file() else None


def training_images(place: str | Path) -> ImageSet | None:
    """The training images of a run; ``None`` where there is no run.

    Raises:
        InputError: its recipe is damaged, or its data cannot be loaded.
    """
    recipe = recipe_of(place)
    return None if recipe is None else share_of(recipe, load_data(recipe.data.source)).train


def _check_names(recipe: Recipe) -> None:
    """Check names and neurons before hours of training, not after."""
    settings = resolve(recipe.evaluation)
    select_threats(settings.threats, Defended(nn.Identity(), nn.Identity()))
    if recipe.classifier.architecture not in list_models():
        raise unknown("model", recipe.classifier.architecture, list_models())
    for part in (recipe.classifier, recipe.purifier):
        NeuronConfig(**part.neurons())
    parse_coding(recipe.classifier.coding)
    budgets, curve = settings.eps, settings.curve_eps
    plan_jobs(
        settings.attacks or (),
        parse_budgets(budgets, settings.norm),
        settings.curve,
        parse_budgets(curve, settings.norm) if curve else [],
        settings.norm,
    )
    create_attack(**recipe.purifier.attack)
    for stage in ("classifier", "purifier"):
        create_objective(getattr(recipe, stage).objective, stage=stage)
