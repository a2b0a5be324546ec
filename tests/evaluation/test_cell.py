"""A finished chunk is one that has every outcome of every image."""

import pytest

from purespike.evaluation.cell import Chunk


def part(robust=3, right=3, distances=3):
    return {"robust": [1] * robust, "right": [1.0] * right, "distances": [0.0] * distances}


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ({"adaptive": part()}, True),
        ({"undefended": part(), "oblivious": part()}, True),
        ({}, False),
        ({"adaptive": part(robust=2)}, False),
        ({"adaptive": part(right=4)}, False),
        ({"undefended": part(), "oblivious": part(distances=1)}, False),
    ],
)
def test_a_chunk_covers_its_images(parts, whole):
    assert Chunk.from_json({"parts": parts}).covers(3) is whole
