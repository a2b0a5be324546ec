"""Every attack with some settings; a new one is one line in ``ROWS``. The fixture ``row`` gives each."""

import torch

EPS = 24 / 255
STEPS = {"eps": "24/255", "steps": 4, "step_size": "10/255"}
AUTO = {"eps": "24/255", "steps": 4}
L2 = {"eps": 1.5, "norm": "l2"}
TARGETED = {"targeted": True, "target": "least_likely"}
CW = {"steps": 6, "search_steps": 2, "learning_rate": 0.1, "initial_c": 3.0}

ROWS = {
    "fgsm": ("fgsm", {"eps": EPS}),
    "fgsm last margin": ("fgsm", {"eps": EPS, "keep": "last", "loss": "margin"}),
    "ifgsm": ("ifgsm", STEPS),
    "ifgsm stop": ("ifgsm", {**STEPS, "stop_early": True}),
    "mifgsm": ("mifgsm", STEPS),
    "mifgsm stop": ("mifgsm", {**STEPS, "stop_early": True, "momentum": 0.5}),
    "pgd": ("pgd", STEPS),
    "pgd last": ("pgd", {**STEPS, "keep": "last"}),
    "pgd margin stop": ("pgd", {**STEPS, "loss": "margin", "stop_early": True}),
    "pgd restarts": ("pgd", {**STEPS, "restarts": 3}),
    "pgd restarts stop": ("pgd", {**STEPS, "restarts": 2, "stop_early": True}),
    "pgd bf16": ("pgd", {**STEPS, "precision": "bf16"}),
    "mifgsm bf16 stop": ("mifgsm", {**STEPS, "precision": "bf16", "stop_early": True}),
    "fgsm l2": ("fgsm", L2),
    "mifgsm l2 stop": ("mifgsm", {**L2, "steps": 4, "stop_early": True}),
    "pgd l2 restarts": ("pgd", {**L2, "steps": 4, "restarts": 2}),
    "pgd l2 bf16": ("pgd", {**L2, "steps": 4, "precision": "bf16"}),
    "pgd eot": ("pgd", {**STEPS, "eot": 3}),
    "pgd eot bf16 restarts stop": (
        "pgd",
        {**STEPS, "eot": 2, "precision": "bf16", "restarts": 2, "stop_early": True},
    ),
    "sa_pgd": ("sa_pgd", {"eps": EPS, "steps": 5}),
    "sa_pgd stop bf16": ("sa_pgd", {"eps": EPS, "steps": 5, "stop_early": True, "precision": "bf16"}),
    "pgd_counts": ("pgd_counts", {"eps": "80/255", "steps": 4, "cap": 15}),
    "pgd_counts targeted": ("pgd_counts", {"eps": "80/255", "steps": 4, "cap": 15, **TARGETED}),
    "flips": ("flips", {"eps": 25, "steps": 5}),
    "flips stop restarts": ("flips", {"eps": 25, "steps": 4, "stop_early": True, "restarts": 2}),
    "flips bf16": ("flips", {"eps": 25, "steps": 4, "precision": "bf16"}),
    "flips_add": ("flips_add", {"eps": 40, "steps": 5}),
    "flips_remove": ("flips_remove", {"eps": 40, "steps": 5, "momentum": 0.0}),
    "sparse_search": ("sparse_search", {"eps": 60, "queries": 60}),
    "spsa": ("spsa", {"eps": "100/255", "steps": 2, "step_size": "60/255", "samples": 16}),
    "spsa l2 eot": (
        "spsa",
        {"eps": 8, "norm": "l2", "steps": 2, "samples": 4, "eot": 2, "stop_early": False},
    ),
    "pgd targeted": ("pgd", {**STEPS, "targeted": True, "target": "least_likely"}),
    "pgd targeted stop restarts bf16": (
        "pgd",
        {**STEPS, "targeted": True, "restarts": 2, "stop_early": True, "precision": "bf16"},
    ),
    "spsa targeted": (
        "spsa",
        {
            "eps": "100/255",
            "steps": 2,
            "step_size": "60/255",
            "samples": 16,
            "targeted": True,
            "target": "random",
        },
    ),
    "cw": ("cw", CW),
    "cw targeted": ("cw", {**CW, "targeted": True}),
    "cw bf16": ("cw", {**CW, "precision": "bf16"}),
    "cw confident": ("cw", {**CW, "confidence": 0.5}),
    "gaussian_noise": ("gaussian_noise", {"level": "60/255"}),
    "apgd_ce": ("apgd_ce", AUTO),
    "apgd_ce l2 restarts": ("apgd_ce", {"eps": 1.2, "norm": "l2", "steps": 4, "restarts": 2}),
    "apgd_dlr eot": ("apgd_dlr", {**AUTO, "eot": 2}),
    "fab": ("fab", AUTO),
    "square": ("square", {"eps": "80/255", "queries": 40}),
    "autoattack": ("autoattack", {"eps": "24/255", "steps": 2, "queries": 5}),
    "autoattack_rand": ("autoattack_rand", {**AUTO, "eot": 2}),
}
RANDOM = {
    "pgd",
    "pgd_counts",
    "flips",
    "flips_add",
    "flips_remove",
    "sparse_search",
    "sa_pgd",
    "spsa",
    "gaussian_noise",
    "apgd_ce",
    "apgd_dlr",
    "square",
    "autoattack",
    "autoattack_rand",
}


def excess(attack, result, images):
    """By how much the farthest image leaves the ball, in float64; negative inside."""
    offset = (result.images.double() - images.double()).flatten(1)
    if getattr(attack, "norm", "linf") == "l0":
        return (offset != 0).sum(1).max() - attack.eps
    l2 = getattr(attack, "norm", "linf") == "l2"
    return (offset.norm(dim=1) if l2 else offset.abs().amax(1)).max() - attack.eps


@torch.no_grad()
def assert_judged(result, model, labels):
    """What is reported of each image is what the model says of it."""
    found = model(result.images).argmax(1)
    assert torch.equal(result.broken, found != labels)
    if result.targets is not None:
        assert torch.equal(result.success, found == result.targets) and (result.targets != labels).all()
