"""Random streams that depend on names, not on what was drawn before: a resumed run draws the same."""

import hashlib

import torch


def derive(*parts: object) -> int:
    """A seed from ``parts``, e.g. ``(seed, "order", epoch)``; hashed, so that streams do not overlap."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by :func:`derive`; drawing on the CPU gives every device the same numbers."""
    return torch.Generator().manual_seed(derive(*parts))
