"""The snippets of CONTRIBUTING work as they stand, and what they register is used by name."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SNIPPETS = re.findall(
    r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL
)
RUN = """
import sys
for number, snippet in enumerate(sys.stdin.read().split("\\0")):
    exec(compile(snippet, f"snippet {number}", "exec"), {"__name__": "snippet"})
"""
USE = """
import torch
import purespike as ps
from purespike.cli.options import app
from purespike.models.coding import parse_coding
from purespike.neurons import SpikingNeuron
from purespike.reporting.section import SECTIONS
from purespike.reproduction.registry import find_experiment
from purespike.training.objectives import create_objective

torch.manual_seed(0)
settings = {"time_steps": 2, "dynamics": "softreset(decay=0.9)", "surrogate": "cauchy", "in_channels": 1}
model = ps.models.create("two_layers", width=0.1, num_classes=2, coding="sharpening", **settings)
attacks = ["double_pgd", "corner", "pgd:steps=1"]
data = ps.data.load_data("stripes:2").test
found = ps.evaluate(model, data, attacks=attacks, threat=["adaptive", "decision"], eps="64/255", max_cost=1)
assert {(cell.attack, cell.threat) for cell in found.cells} == {
    ("double_pgd", "adaptive"), ("pgd", "adaptive"), ("corner", "decision")
}
assert "confidence" in {finding.name for finding in found.diagnostics}
images = data.to_float()
brighter = ps.attacks.pgd(model, images, data.labels, norm="brighten", eps="8/255", steps=2).images
assert (brighter >= images).all() and (brighter > images).any()
create_objective(["noisy", {"name": "near_threshold", "weight": 0.5}, {"name": "max_norm", "limit": 0.3}])
gate = ps.Rejecting(model, "unsure:temperature=2").eval()
assert gate.calibrate(images, 1.0) and gate.accept(images).all()
assert find_experiment("levels") and "hardest" in [one.name for one in SECTIONS]
assert "plan" in [command.callback.__name__ for command in app.registered_commands]
"""


def test_its_snippets_work():
    environment = {**os.environ, "PURESPIKE_COMPILE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\0".join([*SNIPPETS, USE]),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(SNIPPETS) >= 13
