"""The house: a room imports only from rooms before it in this list, files stay small, names stay."""

import ast
import importlib
import statistics
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "purespike"
ROOMS = (
    *(
        "errors",
        "allocator",
        "registration",
        "scalars",
        "budget",
        "yaml_text",
        "text",
        "written",
        "files",
        "reading",
        "importing",
        "tensors",
        "console",
        "progress",
        "seeding",
        "modes",
    ),
    *("section", "optimisation", "settings", "smoothing", "results", "recipe", "run_folder", "environment"),
    *(
        "checks",
        "chunks",
        "ball",
        "neurons",
        "events",
        "data",
        "losses",
        "models",
        "pictures",
        "description",
        "doctor",
        "explain",
    ),
    *(
        "attacks",
        "reporting",
        "zoo",
        "leaderboard",
        "training",
        "evaluation",
        "rejection",
        "certification",
        "review",
        "exporting",
    ),
    *("experiment", "reproduction", "reference", "demo", "cli"),
)
FILES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path):
    """Rooms that a file imports when it is imported itself, not inside functions or for types alone."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("purespike."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "purespike":
            yield from (alias.name for alias in node.names)


def test_every_file_has_a_room():
    assert {room(path) for path in FILES} - {"__init__", "__main__"} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path):
    if room(path) in ("__init__", "__main__"):
        return
    place = ROOMS.index(room(path))
    upward = {name for name in imported(path) if name in ROOMS and ROOMS.index(name) > place}
    assert not upward, f"{path.name} imports from rooms above it: {upward}"


def test_files_hold_one_concept():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert max(lines.values()) <= 400, max(lines, key=lines.get)
    assert statistics.median(lines.values()) <= 120


PUBLIC = {
    "purespike": (
        "Certification Defended Evaluation Gated InputError Rejecting attacks certify data evaluate "
        "evaluate_rejection export load models neurons save"
    ),
    "purespike.attacks": (
        "Attack AttackResult AutoAttack CarliniWagner Component GaussianNoise IdentityBackward "
        "LearnedBackward SignAttack apgd_ce apgd_dlr autoattack autoattack_rand bounded create_attack "
        "cw fab fgsm fit_approximation gaussian_noise ifgsm list_attacks mifgsm pgd sa_pgd spsa "
        "spsa_gradient square transfer worst_case"
    ),
    "purespike.certification": "Certificate Certification CertifiedModel Smoothing certify",
    "purespike.data": (
        "Augmentation Data ImageSet attacker_data augment defender_data draw_augmentation epoch_order "
        "load_data overlap shard"
    ),
    "purespike.evaluation": "THREATS Evaluation Threat TransferMatrix evaluate transfer_matrix",
    "purespike.exporting": "Exported FORMATS export",
    "purespike.losses": (
        "LEVELS OnlineLabelSmoothing PurificationLoss asymmetric beta_schedule charbonnier "
        "purification_loss reconstruction smoothed_cross_entropy total_variation true_noise_level"
    ),
    "purespike.models": (
        "ClassifierSettings Defended Denoiser NoiseEstimator Purified Purifier SpikingClassifier "
        "create list list_models load register resnet save senet wideresnet"
    ),
    "purespike.neurons": (
        "ASSG BPTR HART LIF LIF_THRESHOLDS MLF_THRESHOLDS PDSG ATan Census Exponential Gaussian "
        "Memory MultiLevelFiring RateBased Rectangle RememberingSurrogate StraightThrough Surrogate "
        "Triangle firing_rates membrane_census multi_level_firing parse_surrogate surrogate_gradient"
    ),
    "purespike.rejection": (
        "SCORES Decision Gated Rejecting Rejection Seen choose_threshold evaluate_rejection gate_routes score"
    ),
    "purespike.reproduction": "EXPERIMENTS SCALES Scale load_scale reproduce",
    "purespike.training": "accelerator build_classifier train_classifier train_purifier",
    "purespike.training.objectives": "Criterion Objective Step create_objective",
}


@pytest.mark.parametrize("module", PUBLIC)
def test_no_public_name_is_lost(module):
    found = importlib.import_module(module)
    names = set(PUBLIC[module].split())
    assert names <= set(found.__all__)
    assert all(hasattr(found, name) for name in names)
