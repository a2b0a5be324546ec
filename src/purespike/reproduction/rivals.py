"""Parts of a scale beyond the paper: purifiers that hold, the systems it names, and the hardest attacker."""

from typing import Any

from pydantic import Field

from purespike.recipe import Positive, Section


class Hardest(Section):
    """The attacks of the hardest attacker, each as in a recipe.

    ``white_box`` and ``apgd``, which has a column of its own, meet the whole model over ``surrogates`` and
    the scale's losses, ``query`` its outputs, ``transfer`` the models of its rivals. Gradients of a
    stochastic model are averaged over ``eot`` passes, 20 unless given.
    """

    surrogates: tuple[str, ...] = (
        "rectangle(width=1)",
        "rectangle(width=2)",
        "triangle(width=1)",
        "atan(alpha=2)",
    )
    white_box: tuple[dict[str, Any], ...] = (
        {"name": "pgd", "steps": 100},
        {"name": "sa_pgd"},
        {"name": "apgd_ce"},
        {"name": "apgd_dlr"},
    )
    apgd: tuple[dict[str, Any], ...] = ()
    query: tuple[dict[str, Any], ...] = ({"name": "square", "queries": 5000},)
    transfer: tuple[dict[str, Any], ...] = ({"name": "pgd", "steps": 20},)
    eot: Positive | None = None


class Holding(Section):
    """A purifier trained through the whole on one data set, and the rival it has to beat.

    ``eps`` is the L∞ budget. ``control`` changes the recipe so that the classifier is adversarially trained,
    ``purifier`` so that the purifier is. ``ablations`` change that purifier's recipe once more, after the
    changes of ``briefly`` that all of them share, such as fewer epochs; ``purifier.start: paper`` begins with
    the weights of the paper's purifier.
    """

    eps: str
    control: dict[str, Any]
    purifier: dict[str, Any]
    briefly: dict[str, Any] = Field(default_factory=dict)
    ablations: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Quoted(Section):
    """Accuracies in percent that a paper prints, by attack, with its threat model in words."""

    about: str
    numbers: dict[str, float]


class Peer(Section):
    """One row of the peers' table.

    ``classifier`` and ``purifier`` change the table's ``network``. A row with a ``purifier`` is a defended
    model: its purifier stands before the classifier of the row ``before``, by default that of this row.
    ``published`` are the numbers of its authors.
    """

    classifier: dict[str, Any] = Field(default_factory=dict)
    purifier: dict[str, Any] | None = None
    before: str | None = None
    published: tuple[Quoted, ...] = ()


class Peers(Section):
    """The systems that the paper compares itself with: one network, one attacker.

    ``network`` changes the recipe of ``dataset`` in all rows. Images made on the row ``sender`` are sent to
    the others. ``hardest`` are the attacks.
    """

    dataset: str
    eps: str = "8/255"
    images: Positive
    batch_size: Positive
    network: dict[str, Any] = Field(default_factory=dict)
    sender: str | None = None
    hardest: Hardest = Hardest(
        white_box=({"name": "pgd", "steps": 100}, {"name": "sa_pgd"}),
        apgd=({"name": "apgd_ce"}, {"name": "apgd_dlr"}),
    )
    rows: dict[str, Peer]
