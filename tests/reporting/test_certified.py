"""Certificates as a table, a curve, a page and files: the numbers are those that were counted."""

import csv
import io

import numpy as np
import pytest

from purespike.reporting.certified import certified_csv, certified_curve, certified_grid
from purespike.reporting.certified_page import render, write_certification
from purespike.reporting.drawing import png
from purespike.results import Certificate, Certification
from purespike.smoothing import Smoothing

SMOOTHING = Smoothing(sigma=0.25, n=1_000, n0=100, alpha=0.001)


def certificates(counts, wrong=()):
    return [
        Certificate.of(
            label=row % 10, selected=(row + (row in wrong)) % 10, n_a=count, smoothing=SMOOTHING
        ).to_json()
        for row, count in enumerate(counts)
    ]


@pytest.fixture
def certification():
    parts = {"classifier": {"architecture": "resnet14_snn"}, "purifier": {"architecture": "purifier"}}
    return Certification.from_json(
        {
            "schema": 1,
            "smoothing": SMOOTHING.model_dump(),
            "models": {
                "defended <b>model</b>": {
                    "model": parts,
                    "certificates": certificates([1_000, 990, 900, 720, 400], wrong=[1]),
                    "seconds": 30.0,
                },
                "bare classifier": {
                    "model": {**parts, "purifier": None},
                    "certificates": certificates([600, 500, 400, 300, 200]),
                },
            },
            "data": {"source": "digits", "split": "test", "n": 5, "fingerprint": "0f"},
            "shape": [3, 32, 32],
            "seed": 4,
            "provenance": {"command": "purespike certify runs/x", "commit": "c0ffee", "dirty": False},
        }
    )


def test_the_table_holds_certified_accuracy_at_both_radii(certification):
    text = certified_grid(certification).markdown()
    lines = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    rows = {line[0]: line[1:] for line in lines}
    # radii 0.616 (right), wrong, 0.285 (right), 0.11 (right), abstained
    assert [rows[key][1].split()[0] for key in ("0", "0.1", "0.2", "0.5", "0.6")] == [
        *("60.0", "60.0", "40.0", "20.0", "20.0")
    ]
    assert rows["0.5"][0] == "0.0090 (2.3/255)", "L2 0.5 over the root of 3,072"
    assert rows["average radius"][2] == f"{certification.models['bare classifier'].average_radius:.3f}"
    assert rows["abstained"][1:] == ["1 of 5", "4 of 5"]
    assert "No radius can exceed 0.616 with 1,000 draws" in text and "abstentions are errors" in text


def test_a_line_per_model_and_image(certification):
    rows = list(csv.DictReader(io.StringIO(certified_csv(certification))))
    assert len(rows) == 10 and {row["model"] for row in rows} == set(certification.models)
    last = rows[4]
    assert (last["prediction"], last["selected"], last["n_a"], last["radius"]) == ("", "4", "400", "0.0")
    assert float(rows[0]["radius_linf"]) == pytest.approx(float(rows[0]["radius"]) / 3072**0.5)


@pytest.mark.parametrize("narrow", [False, True])
def test_the_curve_steps_down_at_the_certified_radii(certification, narrow):
    figure = certified_curve(certification, narrow=narrow)
    (axes,) = figure.axes
    first, second, largest = axes.lines
    radii = sorted(one.radius for one in certification.certificates if one.correct)
    assert first.get_drawstyle() == "steps-post"
    np.testing.assert_allclose(first.get_xdata(), [0, *radii, SMOOTHING.largest_radius])
    np.testing.assert_allclose(first.get_ydata(), [60, 40, 20, 0, 0])
    np.testing.assert_allclose(second.get_ydata(), [20, 0, 0])
    assert largest.get_xdata()[0] == pytest.approx(SMOOTHING.largest_radius)
    assert png(figure)


def test_the_page_says_what_a_certificate_is(certification):
    page = render(certification, "mine")
    assert "60.0% of 5 digits test images" in page and "smoothed" in page
    assert "defended &lt;b&gt;model&lt;/b&gt;" in page and "<b>model</b>" not in page
    assert page.count("<svg") == 2 and "c0ffee" in page and "10 images a minute" in page
    assert "0.0090 (2.3/255)" in page


def test_the_files(certification, tmp_path):
    page = write_certification(certification, tmp_path / "out")
    assert page == tmp_path / "out" / "certification.html"
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")) == [
        *(f"certification.{end}" for end in ("csv", "html", "json", "md")),
        "figures/certified.png",
    ]
    assert Certification.read(tmp_path / "out" / "certification.json") == certification
    assert str(certification).splitlines()[1].startswith("defended <b>model</b>: 60.0% at L2 0, ")
