"""The model card of a model: a page for readers, under a header that the hub reads."""

from collections.abc import Iterator, Mapping
from typing import Any

from purespike.reporting.escape import markdown
from purespike.results import Evaluation
from purespike.results.card import Card
from purespike.results.make_card import make_card
from purespike.results.vocabulary import THREATS
from purespike.zoo.catalogue import card_lines


def model_card(
    architecture: Mapping[str, Any],
    *,
    name: str,
    evaluation: Evaluation | None = None,
    licence: str | None = None,
) -> str:
    """``README.md`` of a model.

    Args:
        architecture: settings of the model, as a checkpoint keeps them.
        name: name of the model.
        evaluation: measured accuracies; every metric names its threat model and budget.
        licence: licence of the weights.
    """
    from huggingface_hub import ModelCardData

    budgets = evaluation.budgets if evaluation else ()
    cards = [make_card(evaluation, name=name, eps=eps) for eps in budgets] if evaluation else []
    results = [result for card in cards for result in _results(card)]
    header = ModelCardData(
        library_name="purespike",
        license=licence,
        pipeline_tag="image-classification",
        tags=["spiking-neural-network", "adversarial-robustness"],
        model_name=name,
        eval_results=results or None,
    )
    lines = ["---", header.to_yaml(), "---", f"# {markdown(name)}", "", *_use(name), *_about(architecture)]
    lines += ["## Robustness", ""]
    if not cards:
        lines += [
            "Not measured. `purespike evaluate` attacks it, and names the threat model of every number.",
            "",
        ]
    for card in cards:
        lines += [f"- {markdown(line)}" for line in card_lines(card)]
        lines += ["", *_origin(card)]
    return "\n".join(lines)


def _results(card: Card) -> Iterator[Any]:
    from huggingface_hub import EvalResult

    def result(label: str, kind: str, value: float) -> Any:
        return EvalResult(
            task_type="image-classification",
            dataset_type=card.dataset,
            dataset_name=card.dataset,
            metric_type="accuracy",
            metric_name=label,
            metric_value=round(value, 2),
            metric_config=kind,
        )

    if card.clean_acc is not None:
        yield result("clean accuracy", "clean", card.clean_acc)
    for threat, share in card.robust.items():
        if share is not None:
            title = THREATS[threat].title.lower() if threat in THREATS else threat
            yield result(f"robust accuracy, {title}, {card.budget}", f"{threat}, {card.budget}", share)
    if card.worst_case is not None:
        yield result(
            f"robust accuracy, worst case per image, {card.budget}",
            f"worst case, {card.budget}",
            card.worst_case,
        )


def _use(name: str) -> list[str]:
    return [
        "```python",
        "import purespike as ps",
        "",
        f"model = ps.from_pretrained({name!r})  # images [N, C, H, W] in [0, 1] to logits [N, K]",
        "```",
        "",
    ]


def _about(architecture: Mapping[str, Any]) -> Iterator[str]:
    parts = {
        part: architecture[part]
        for part in ("purifier", "classifier", "model")
        if isinstance(architecture.get(part), Mapping)
    } or {"model": architecture}
    yield "## Model"
    yield ""
    for part, settings in parts.items():
        told = ", ".join(
            f"{key} {markdown(str(value))}" for key, value in settings.items() if key != "architecture"
        )
        yield f"- {part}: {markdown(str(settings.get('architecture')))} ({told})"
    yield ""


def _origin(card: Card) -> Iterator[str]:
    if card.command:
        yield f"Measured by `{markdown(card.command)}` at commit {card.commit}, seed {card.seed}."
        yield ""
