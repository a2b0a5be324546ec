"""Models and measurements that the experiments share: each is made once and kept."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from purespike.data import Data, load_data, validation_data
from purespike.errors import InputError
from purespike.evaluation import evaluate
from purespike.experiment import Run, share_of
from purespike.models import Defended
from purespike.recipe import Recipe
from purespike.reproduction.scale import Scale, changed, folder_name
from purespike.results import Evaluation, read_history
from purespike.training.engine import main_first

BEFORE = ("teacher", "homeostasis")
"""Folders in a run of networks that its classifier needs before."""


class Unavailable(Exception):
    """A data set that is not available here; the message gives the reason."""


class ExperimentContext:
    """Data, models and attacks of one scale, in one folder.

    Args:
        scale: networks, epochs and images.
        folder: folder of the results; ``models/DATASET/VARIANT/seedN`` are run folders, ``checkpoint/``
            holds finished chunks.
        accelerator: device and precision.
        sources: sources of data sets that are not where their recipe says.
        seeds: number of repetitions.
        rows: names of the rows to measure, where an experiment offers the choice; all if empty.
        held_out: share of the training images that takes the place of the test images; 0 for the test images.
    """

    def __init__(
        self,
        scale: Scale,
        folder: Path,
        accelerator: Accelerator,
        *,
        sources: Mapping[str, str] | None = None,
        seeds: int = 1,
        rows: Sequence[str] = (),
        held_out: float = 0.0,
    ) -> None:
        self.scale, self.folder, self.accelerator = scale, folder, accelerator
        self.sources = dict(sources or {})
        self.seeds, self.rows, self.held_out = range(seeds), tuple(rows), held_out
        self._data: dict[tuple[str, int, str], Data] = {}
        self._classifiers: dict[tuple[str, str, int], nn.Module] = {}
        self._defended: dict[tuple[str, str, int], Defended] = {}

    def recipe(self, dataset: str, variant: str = "plain", *, seed: int = 0) -> Recipe:
        """See :meth:`Scale.recipe`."""
        return self.scale.recipe(dataset, variant, seed=seed, source=self.sources.get(dataset, ""))

    def data(self, dataset: str, seed: int = 0, *, recipe: Recipe | None = None) -> Data:
        """Training and test images of the runs of ``seed``.

        Args:
            dataset: data set.
            seed: seed of the runs.
            recipe: recipe whose section ``data`` counts; by default the plain one.

        Raises:
            Unavailable: the images cannot be loaded.
        """
        recipe = self.recipe(dataset, seed=seed) if recipe is None else recipe
        key = dataset, seed, recipe.data.model_dump_json()
        if key not in self._data:
            try:
                with main_first(self.accelerator):
                    loaded = load_data(recipe.data.source)
            except InputError as error:
                raise Unavailable(f"not measured: {error}") from error
            own = share_of(recipe, loaded)
            share = self.held_out
            self._data[key] = validation_data(own, share=share, seed=seed) if share else own
        return self._data[key]

    def run(self, dataset: str, variant: str, seed: int, changes: Mapping[str, Any] | None = None) -> Run:
        """The run folder of a variant, or of an ablation's ``changes`` to the plain recipe."""
        if changes is None:
            recipe = self.recipe(dataset, variant, seed=seed)
        else:
            plain = self.recipe(dataset, seed=seed).model_dump(mode="json")
            recipe = Recipe.model_validate(changed(plain, changes))
        return Run(recipe, self.place(dataset, variant, seed), self.accelerator)

    def place(self, dataset: str, name: str, seed: int = 0) -> Path:
        """The run folder of the models that go by a name."""
        return self.folder / "models" / dataset / folder_name(name) / f"seed{seed}"

    def classifier(
        self,
        dataset: str,
        variant: str = "plain",
        seed: int = 0,
        *,
        changes: Mapping[str, Any] | None = None,
    ) -> nn.Module:
        """A variant's classifier, trained or read back; ``changes`` as for :meth:`run`."""
        key = dataset, variant, seed
        if key not in self._classifiers:
            run = self.run(dataset, variant, seed, changes)
            data = self.data(dataset, seed, recipe=run.recipe)
            run.claim()
            self._classifiers[key] = run.classifier(data).eval()
        return self._classifiers[key]

    def defended(self, dataset: str, variant: str = "plain", seed: int = 0) -> Defended:
        """A variant's classifier behind a purifier trained against it."""
        key = dataset, variant, seed
        if key not in self._defended:
            classifier = self.classifier(dataset, variant, seed)
            purifier = self.run(dataset, variant, seed).purifier(self.data(dataset, seed), classifier)
            self._defended[key] = Defended(purifier, classifier).eval()
        return self._defended[key]

    def ablated(self, dataset: str, name: str, seed: int = 0) -> Defended:
        """The plain classifier behind a purifier trained with the changes of an ablation."""
        changes = self.scale.ablations[name]
        if not changes:
            return self.defended(dataset, seed=seed)
        return self.behind(dataset, f"ablation {name}", changes, seed)

    def behind(
        self,
        dataset: str,
        name: str,
        changes: Mapping[str, Any],
        seed: int = 0,
        *,
        classifier: nn.Module | None = None,
    ) -> Defended:
        """A given classifier behind a purifier trained with changes to the plain recipe.

        Args:
            dataset: data set of the recipe.
            name: name of the purifier's run folder.
            changes: changes to the recipe.
            seed: seed of the run.
            classifier: by default the plain one.
        """
        classifier = self.classifier(dataset, seed=seed) if classifier is None else classifier
        run = self.run(dataset, name, seed, changes)
        run.claim()
        if run.recipe.purifier.release is not None:
            classifier = copy.deepcopy(classifier)
        purifier = run.purifier(self.data(dataset, seed, recipe=run.recipe), run.adopt(classifier))
        return Defended(purifier, classifier).eval()

    def control(self, dataset: str, seed: int = 0) -> nn.Module:
        """The classifier adversarially trained, without a purifier: the rival of one trained as long."""
        return self.classifier(dataset, "control", seed, changes=self.scale.holding[dataset].control)

    def passes(self, dataset: str, name: str, stage: str, seed: int = 0) -> int:
        """Forward and backward passes of an image that a stage of a run took, as its history says.

        Those of a classifier include what was trained before it: an ANN, a teacher, a plain network.
        """
        place = self.place(dataset, name, seed)
        stages, histories = {stage}, [place / "history.jsonl"]
        if stage == "classifier":
            stages |= {"ann"}
            histories += [path for each in BEFORE if (path := place / each / "history.jsonl").is_file()]
        rows = [row for path in histories for row in read_history(path) if row.stage in stages]
        return sum(int(row.value("passes") or 0) for row in rows)

    def evaluate(
        self,
        model: nn.Module,
        dataset: str,
        attacks: Sequence[Any],
        threats: Sequence[str],
        *,
        eps: str | Sequence[float | str] = "8/255",
        surrogates: Sequence[str] | None = None,
        substitutes: Mapping[str, nn.Module] | None = None,
        eot: int | None = None,
        seed: int = 0,
    ) -> Evaluation:
        """Attack a model with the scale's settings; finished chunks of an earlier command are read back.

        ``surrogates`` take the place of the scale's; ``eot`` is the number of gradients averaged where the
        model is stochastic.
        """
        return evaluate(
            model,
            self.data(dataset, seed).test,
            attacks=attacks,
            threat=threats,
            eps=eps,
            surrogates=self.scale.surrogates if surrogates is None else surrogates,
            losses=self.scale.losses,
            substitutes=substitutes,
            eot=eot,
            images=self.scale.images,
            batch_size=self.scale.batch_size,
            # `purespike evaluate` gives the verdicts
            diagnose=0,
            seed=seed,
            accelerator=self.accelerator,
            folder=self.folder / "checkpoint",
        )
