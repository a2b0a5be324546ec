"""How time and memory of a training step grow with time steps, batch and image size."""

import math
import statistics

import torch
from matplotlib.figure import Figure

from benchmarks.measure import Settings, kept_for_backward, times
from benchmarks.networks import batch, senet, training_step
from benchmarks.report import Result, counted

WIDTH = 0.5
# what varies, its values, and how an image's share of the work follows from them
SERIES = {
    "time steps": ([1, 2, 4, 8], lambda value: {"time_steps": value}),
    "batch": ([4, 8, 16, 32], lambda value: {"count": value}),
    "pixels": ([16**2, 24**2, 32**2, 48**2], lambda value: {"size": math.isqrt(value)}),
}


def run(settings: Settings) -> Result:
    result = Result(f"Growth of a training step, SENet18-SNN at width {WIDTH}")
    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = figure.subplots(1, len(SERIES))
    for (name, (values, arguments)), panel in zip(SERIES.items(), panels, strict=True):
        points = [_point(settings, **arguments(value)) for value in values]
        seconds = [statistics.median(times) for times, _ in points]
        memory = [size for _, size in points]
        result.extra[name] = {"values": values, "seconds": seconds, "bytes": memory}
        for what, series in (("time", seconds), ("memory kept for backward", memory)):
            result.rows.append(
                counted(
                    f"exponent of {what} in {name}",
                    _exponent(values, series),
                    same=f"1 is linear; {values[0]} to {values[-1]}: {series[-1] / series[0]:.1f} times",
                )
            )
        panel.plot(values, [value / seconds[0] for value in seconds], "o-", label="time")
        panel.plot(values, [value / memory[0] for value in memory], "s--", label="memory")
        panel.plot(values, [value / values[0] for value in values], ":", color="grey", label="linear")
        panel.set(xlabel=name, xscale="log", yscale="log", xticks=values, xticklabels=map(str, values))
        panel.minorticks_off()
    panels[0].set_ylabel("÷ the smallest")
    panels[0].legend(frameon=False)
    result.figures["growth"] = figure
    return result


def _point(
    settings: Settings, *, time_steps: int = 4, count: int = 8, size: int = 32
) -> tuple[list[float], int]:
    scale = 16 if settings.device == "cuda" else 1
    model = senet(settings.device, time_steps=time_steps, width=WIDTH)
    images, labels = batch(count * scale, settings.device, size)
    found = times({"step": training_step(model, images, labels)}, settings)["step"]
    model.train()
    kept = kept_for_backward(lambda: model(images), model.parameters())
    if settings.device == "cuda":
        torch.cuda.empty_cache()
    return found, sum(kept.values())


def _exponent(values: list[int], series: list[float] | list[int]) -> float:
    """Slope of the logarithms, by least squares."""
    return statistics.linear_regression([math.log(v) for v in values], [math.log(s) for s in series]).slope
