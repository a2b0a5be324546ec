"""Norm balls that bound a perturbation: L∞, L2 and L0."""

from purespike.ball.base import Ball, safe_divide
from purespike.ball.l0 import L0
from purespike.ball.l2 import L2
from purespike.ball.linf import Linf

__all__ = ["L0", "L2", "Ball", "Linf", "safe_divide"]
