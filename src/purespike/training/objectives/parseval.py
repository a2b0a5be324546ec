"""Weights near orthogonal rows, whose layers do not stretch a perturbation."""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from purespike.training.objectives.registry import projection


@projection("parseval")
def parseval(
    model: nn.Module,
    *,
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.001,
    share: Annotated[float, Field(gt=0, le=1)] = 0.3,
    many: Annotated[int, Field(ge=1)] = 200,
) -> None:
    r"""One step of each weight towards a Parseval tight frame (Cissé et al. 2017, arXiv 1704.08847, eq. 12).

    .. math:: W \leftarrow (1 + \beta) W - \beta W W^\top W

    Rows of W are the filters of a convolution or of a linear layer, flattened. A singular value s becomes
    :math:`(1 + \beta) s - \beta s^3`, which has its fixed point at 1: a step of gradient descent on
    :math:`\frac{\beta}{4} \|W W^\top - I\|^2`. SNN-RAT (Ding et al. 2022) trains with it after each step of
    SGD, with ``weight_decay: 0``; FEEL (Xu et al. 2024) keeps a weight decay of 5e-4, which holds singular
    values below 1. A batch norm after a layer rescales its output, so that the bound is the layer's and not
    the network's.

    Above :math:`\sqrt{(2 + \beta) / \beta}`, 45 with the default, singular values would grow with each step.
    Where :math:`\|W W^\top\|_\infty`, a bound on their squares, exceeds :math:`1 / (2 \beta)`, the step is
    shortened so that none falls below half: the largest become :math:`(s + 1/s) / 2`, Newton's step to 1.

    Args:
        model: its convolutions and linear layers are projected, transposed ones excepted.
        beta: size of the step.
        share: share of the rows of a large linear layer that one step takes, drawn anew each time.
        many: number of rows from which a linear layer is large.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear) or beta == 0:
            continue
        weight = module.weight.flatten(1)
        rows = torch.arange(len(weight), device=weight.device)
        if isinstance(module, nn.Linear) and len(weight) >= many:
            # drawn on the CPU: every device takes the same rows
            rows = torch.randperm(len(weight))[: max(1, round(share * len(weight)))].to(weight.device)
        chosen = weight[rows]
        gram = chosen @ chosen.T
        moved = (1 + beta) * chosen - beta * gram @ chosen
        length = (0.5 / (beta * torch.linalg.matrix_norm(gram, torch.inf))).clamp(max=1)
        # a length of 1 gives `moved` bit for bit
        module.weight[rows] = torch.lerp(chosen, moved, length).view_as(module.weight[rows])
