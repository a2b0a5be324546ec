"""The kinds of things that recipes name, in the order of the page."""

TITLES = {
    "optimisers": "Optimisers",
    "schedules": "Schedules",
    "objectives": "Objectives of the classifier",
    "purifier-objectives": "Objectives of the purifier",
    "penalties": "Penalties",
    "projections": "Projections",
    "architectures": "Architectures",
    "codings": "Codings",
    "dynamics": "Dynamics",
    "surrogates": "Surrogates",
    "attacks": "Attacks",
    "suites": "Suites",
    "threats": "Threat models",
    "tolerances": "Tolerances of the verdict",
    "sources": "Data sources",
    "scores": "Scores",
}
