"""Pages of the API reference: one a public module, from its docstrings."""

MODULES = {
    "purespike": "In one import",
    "purespike.neurons": "Neurons and surrogates",
    "purespike.models": "Networks, purifiers, checkpoints",
    "purespike.data": "Data",
    "purespike.attacks": "Attacks",
    "purespike.ball": "Norm balls",
    "purespike.evaluation": "Evaluation",
    "purespike.evaluation.threat": "Threat models",
    "purespike.evaluation.diagnostics": "Diagnostics",
    "purespike.results": "Results",
    "purespike.settings": "Settings of an evaluation",
    "purespike.recipe": "Recipes",
    "purespike.training": "Training",
    "purespike.training.objectives": "Objectives",
    "purespike.losses": "Losses",
    "purespike.rejection": "Rejection",
    "purespike.certification": "Certification",
    "purespike.explain": "Explanations",
    "purespike.review": "Checking published tables",
    "purespike.leaderboard": "Leaderboard",
    "purespike.reference": "Reference of recipes",
}


def page(module: str) -> str:
    """Markdown of the page of a module."""
    return f"# {MODULES[module]}\n\n::: {module}\n"


def name(module: str) -> str:
    """Path of that page below the site's pages."""
    return f"api/{module}.md"


def index() -> str:
    """Markdown of the page that lists them."""
    rows = [f"| [`{module}`]({module}.md) | {title} |" for module, title in MODULES.items()]
    return "\n".join(["# Python", "", "| module | |", "|---|---|", *rows]) + "\n"
