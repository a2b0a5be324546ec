"""Parts of a scale beyond the paper: purifiers that hold, the systems it names, and the hardest attacker."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from purespike.attacks import create_attack
from purespike.budget import parse_eps
from purespike.errors import InputError, brief, unknown
from purespike.neurons import parse_surrogate
from purespike.recipe import Positive, Section
from purespike.rejection.registry import Score
from purespike.section import Rate
from purespike.yaml_text import parse_yaml


def _known(name: str) -> str:
    parse_surrogate(name)
    return name


Surrogates = tuple[Annotated[str, AfterValidator(_known)], ...]
"""Names of surrogates that exist."""


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with ``changes``, mapping by mapping; a mapping with a ``name`` is replaced as a whole."""
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        nested = isinstance(change, Mapping) and isinstance(old, Mapping) and "name" not in change
        result[key] = changed(old, change) if nested else change  # type: ignore[arg-type]
    return result


class Hardest(Section):
    """The attacks of the hardest attacker, each as in a recipe.

    ``white_box`` and ``apgd``, which has a column of its own, meet the whole model over ``surrogates`` and
    the scale's losses, ``query`` its outputs, ``transfer`` the models of its rivals. Gradients of a
    stochastic model are averaged over ``eot`` passes, 20 unless given.
    """

    surrogates: Annotated[Surrogates, Field(min_length=1)] = (
        "rectangle(width=1)",
        "rectangle(width=2)",
        "triangle(width=1)",
        "atan(alpha=2)",
    )
    white_box: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)] = (
        {"name": "pgd", "steps": 100},
        {"name": "sa_pgd"},
        {"name": "apgd_ce"},
        {"name": "apgd_dlr"},
    )
    apgd: tuple[dict[str, Any], ...] = ()
    query: tuple[dict[str, Any], ...] = ({"name": "square", "queries": 5000},)
    transfer: tuple[dict[str, Any], ...] = ({"name": "pgd", "steps": 20},)
    eot: Positive | None = None

    @field_validator("white_box", "apgd", "query", "transfer")
    @classmethod
    def _are_attacks(cls, attacks: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for attack in attacks:
            if "name" not in attack:
                raise InputError(
                    f"an attack needs a name, e.g. {{name: pgd, steps: 20}}; got {brief(attack)}"
                )
            create_attack(**attack)
        return attacks


class Holding(Section):
    """A purifier trained through the whole on one data set, and the rival it has to beat.

    ``eps`` is the L∞ budget. ``control`` changes the recipe so that the classifier is adversarially trained,
    ``purifier`` so that the purifier is, and ``before_control`` changes that once more for the purifier in
    front of the control, which can read by itself what another classifier needs painted anew. ``ablations``
    change that purifier's recipe once more, after the changes of ``briefly`` that all of them share, such as
    fewer epochs; ``purifier.start: paper`` begins with the weights of the paper's purifier.
    """

    eps: str
    control: dict[str, Any]
    purifier: dict[str, Any]
    before_control: dict[str, Any] = Field(default_factory=dict)
    briefly: dict[str, Any] = Field(default_factory=dict)
    ablations: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @property
    def stacked(self) -> dict[str, Any]:
        """The changes for the control and for the purifier in front of it."""
        return changed(changed(self.control, self.purifier), self.before_control)


class Quoted(Section):
    """Accuracies in percent that a paper prints, by attack, with its threat model in words."""

    about: str
    numbers: dict[str, Annotated[float, Field(ge=0, le=100)]]


class Gate(Section):
    """Joint detection: images of a larger ``score`` than a share ``coverage`` of clean ones are purified.

    The threshold is chosen on so many training ``images``, a stratified subset; the score is one of
    :data:`purespike.rejection.SCORES`.
    """

    score: str = "noise_max"
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.95
    images: Positive = 1000

    @field_validator("score")
    @classmethod
    def _is_known(cls, text: str) -> str:
        return Score(text).text


class Peer(Section):
    """One row of the peers' table.

    ``classifier`` changes the table's ``network``. A row with a ``purifier`` is a defended model: its
    purifier stands before the classifier of the row ``before``. An ``adversarial`` row trains on the table's
    adversarial images, besides the other parts of its objective. ``cost`` is the number of forward and
    backward passes that an image takes in an epoch, those of the adversarial images left out. A row with a
    ``gate`` trains nothing: it is the defended model of the row ``before``, and purifies what the gate flags.
    ``published`` are the numbers of its authors. ``sweep`` has what they do not publish: by name, changes to
    ``classifier`` that are compared on held-out training images.
    """

    classifier: dict[str, Any] = Field(default_factory=dict)
    adversarial: bool = False
    cost: Rate = 1.0
    purifier: dict[str, Any] | None = None
    before: str | None = None
    gate: Gate | None = None
    published: tuple[Quoted, ...] = ()
    sweep: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _stands_before_a_classifier(self) -> Self:
        if self.gate is not None and (self.purifier is not None or self.before is None):
            raise InputError(
                "a gate stands in a purifier of another row: name that row in before, no purifier"
            )
        if self.gate is None and (self.purifier is None) != (self.before is None):
            raise InputError(
                "a purifier and before, the row whose classifier it stands before, belong together"
            )
        if self.before is not None and (self.classifier or self.adversarial):
            raise InputError("a row with before takes the classifier of another row as it is")
        return self


def shipped_rows() -> dict[str, Any]:
    """The rows of ``scales/peers.yaml``, each a mapping."""
    text = (files(__package__) / "scales" / "peers.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = parse_yaml(text)
    return found


class Peers(Section):
    """The systems that the paper compares itself with: one network, one attacker, one budget of training.

    ``about`` is the network and its data in words, by default the scale's.
    ``network`` changes the recipe of ``dataset`` in all rows. Each row trains for ``passes`` passes of an
    image, in as many epochs as its cost allows. ``adversarial`` is the objective of the rows that are
    adversarially trained. Images made on the row ``sender`` are sent to the others. ``hardest`` are the
    attacks. The ``rows`` are those of ``scales/peers.yaml`` unless given; ``overrides`` change some of them.
    """

    about: str | None = None
    dataset: str
    eps: str = "8/255"
    images: Positive
    batch_size: Positive
    passes: Positive
    adversarial: dict[str, Any]
    network: dict[str, Any] = Field(default_factory=dict)
    sender: str | None = None
    hardest: Hardest = Hardest(
        white_box=({"name": "pgd", "steps": 100}, {"name": "sa_pgd"}),
        apgd=({"name": "apgd_ce"}, {"name": "apgd_dlr"}),
    )
    rows: dict[str, Peer]

    @field_validator("eps")
    @classmethod
    def _is_a_budget(cls, eps: str) -> str:
        if not parse_eps(eps) > 0:
            raise InputError("the rows are attacked: eps must be positive")
        return eps

    @model_validator(mode="before")
    @classmethod
    def _all_rows(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        rows = {"rows": shipped_rows(), **values}["rows"]
        overrides = values.get("overrides") or {}
        for key, part in {"rows": rows, "overrides": overrides}.items():
            if not isinstance(part, dict) or not all(isinstance(row or {}, dict) for row in part.values()):
                raise InputError(f"peers: {key}: expected a mapping of names to rows, each a mapping")
        for name in overrides:
            if name not in rows:
                raise unknown("row", str(name), rows)
        merged = {name: changed(row or {}, overrides.get(name) or {}) for name, row in rows.items()}
        return {**{key: value for key, value in values.items() if key != "overrides"}, "rows": merged}

    def changes(self, name: str) -> dict[str, Any]:
        """The changes of a row to the recipe of the table's network, its epochs among them.

        Those of a purifier's row hold for the classifier that it stands before, too.
        """
        row = self.rows[name]
        if row.gate is not None:
            assert row.before is not None
            return self.changes(row.before)
        if row.purifier is not None:
            assert row.before is not None
            return {**self.changes(row.before), "purifier": {**row.purifier, "epochs": self.epochs(row)}}
        given = dict(row.classifier)
        if row.adversarial:
            given["objective"] = [self.adversarial, *given.get("objective", ())]
        return {"classifier": {**given, "epochs": self.epochs(row)}}

    def swept(self) -> Self:
        """The table of the sweeps: every row that has one, as it is and with each of its changes."""
        rows = {}
        for name, row in self.rows.items():
            tried = {"as in the table": {}, **row.sweep} if row.sweep else {}
            for label, changes in tried.items():
                rows[f"{name}: {label}"] = row.model_copy(
                    update={"classifier": changed(row.classifier, changes), "published": (), "sweep": {}}
                )
        return self.model_copy(update={"rows": rows, "sender": None})

    def epochs(self, row: Peer) -> int:
        """Epochs that ``passes`` allow a row, at least one."""
        attack = int(self.adversarial.get("steps", 1)) if row.adversarial else 0
        return max(1, round(self.passes / (row.cost + attack)))
