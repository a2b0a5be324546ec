"""What certificates cost: noise and counting beside the forwards, and memory at ten times the draws."""

import statistics
import subprocess
import sys

import torch
from torch import Tensor, nn

from benchmarks.measure import Settings, Side, times
from benchmarks.report import Result, counted, timed
from purespike.certification.draws import count_votes, noises
from purespike.models import Defended, Purifier, create

DRAWS, BATCH, SIGMA = 500, 100, 0.25
PROGRAM = """
import resource, torch, purespike
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2)).eval()
data = torch.rand(1, 3, 16, 16), torch.tensor([0])
peaks = []
for n in (2_000, 20_000):
    purespike.certify(model, data, n=n)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peaks[1] - peaks[0])
"""


def run(settings: Settings) -> Result:
    device = settings.device
    torch.manual_seed(0)
    purifier = Purifier(width=0.25)
    # a new purifier changes nothing
    nn.init.normal_(purifier.denoiser.last.weight, std=0.02)
    model = Defended(purifier, create("resnet14_snn", width=0.125)).to(device).eval()
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1)).to(device)
    result = Result("Certificates of the digits model, 32×32")

    def forwards() -> list[Tensor]:
        found = []
        with torch.inference_mode():
            for noise in noises(image.shape, 0, BATCH, 0, size=BATCH):
                batch = image + SIGMA * noise.to(device)
            for _ in range(DRAWS // BATCH):
                found.append(model(batch).argmax(1))
        return found

    def counts() -> list[int]:
        stated = {"sigma": SIGMA, "classes": 10, "first": 0, "count": DRAWS, "size": BATCH}
        return count_votes(model, image, 0, **stated)  # type: ignore[arg-type]

    sides: dict[str, Side] = {"forwards": forwards, "counts": counts}
    first = forwards()[0].bincount(minlength=10).tolist()
    same = {"sigma": SIGMA, "classes": 10, "first": 0, "count": BATCH, "size": BATCH}
    apart = sum(
        abs(a - b)
        for a, b in zip(first, count_votes(model, image, 0, **same)[:10], strict=True)  # type: ignore[arg-type]
    )
    seconds = times(sides, settings)
    per_image = statistics.median(seconds["counts"]) / DRAWS * 10_100
    result.rows = [
        timed(
            f"{DRAWS} draws counted ÷ their forwards alone",
            seconds,
            "counts",
            "forwards",
            bound=1.2,
            same=f"{apart} of {BATCH} draws in another class",
            note=f"{BATCH} draws a forward; the noise is drawn and the classes are counted besides",
        ),
        counted(
            "certified images a minute, n = 10,000", 60 / per_image, same="100 draws select, 10,000 estimate"
        ),
        counted(
            "MiB more at n = 20,000 than at n = 2,000",
            _growth(),
            bound=16,
            same="resident memory, a linear model on 3×16×16; the noise of these draws is 53 MiB",
        ),
    ]
    result.extra["seconds an image, n = 10,000"] = per_image
    return result


def _growth() -> float:
    """MiB by which the peak of the resident memory grows with ten times the draws, in a fresh process."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return float(done.stdout)
