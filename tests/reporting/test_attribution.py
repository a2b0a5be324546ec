"""The Grad-CAM figure draws the images and maps it was given, under the classes that were predicted."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from purespike.errors import InputError
from purespike.reporting.attribution import Explained, Row, grad_cam_figure
from purespike.reporting.drawing import RIGHT, WRONG, png

STAGES = ("clean", "adversarial", "purified")


def make_rows(samples, count=2):
    rng = np.random.default_rng(1)
    names = [f"class {name}" for name in samples.class_names]
    predictions = ("labels", "undefended_prediction", "defended_prediction")
    return [
        Row(
            label=names[samples.labels[n]],
            **{
                stage: Explained(
                    image=getattr(samples, stage)[n],
                    attribution=rng.random(getattr(samples, stage).shape[2:]),
                    prediction=names[getattr(samples, prediction)[n]],
                )
                for stage, prediction in zip(STAGES, predictions, strict=True)
            },
        )
        for n in range(count)
    ]


def panels(figure, rows):
    """``[(explained, label, axes of the image, axes of the map)]``."""
    axes = [one for one in figure.axes if one.images]
    places = [(row, stage) for stage in STAGES for row in rows]
    assert len(axes) == 2 * len(places)
    return [
        (getattr(row, stage), row.label, *axes[2 * place : 2 * place + 2])
        for place, (row, stage) in enumerate(places)
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_pairs_of_image_and_map(samples, count):
    rows = make_rows(samples, count)
    for explained, _, left, right in panels(grad_cam_figure(rows), rows):
        np.testing.assert_array_equal(left.images[0].get_array(), explained.image.transpose(1, 2, 0))
        grey, overlay = right.images
        np.testing.assert_allclose(grey.get_array(), explained.image.mean(0), rtol=1e-6)
        np.testing.assert_allclose(overlay.get_array(), explained.attribution, rtol=1e-6)
        assert 0 < overlay.get_alpha() < 1 and overlay.get_clim() == (0, 1)


def test_titles_name_the_prediction_and_whether_it_is_right(samples):
    rows = make_rows(samples, 6)
    verdicts = set()
    for explained, label, left, right in panels(grad_cam_figure(rows), rows):
        correct = explained.prediction == label
        verdicts.add(correct)
        assert left.get_title() == f"{'✓' if correct else '✗'} {explained.prediction}"
        assert to_hex(left.title.get_color()) == (RIGHT if correct else WRONG)
        assert right.get_title() == "Grad-CAM"
    assert verdicts == {True, False}


def test_columns_are_named_in_order(samples):
    figure = grad_cam_figure(make_rows(samples))
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert [title for title in titles if title] == ["Clean", "Adversarial", "Purified"]


def test_same_bytes_for_the_same_rows(samples):
    one, other = (png(grad_cam_figure(make_rows(samples)), dpi=40) for _ in range(2))
    assert one == other and one.startswith(b"\x89PNG")


def test_grey_tensors_out_of_range_and_awkward_names():
    image = torch.tensor([[[-0.5, 1.5], [float("nan"), 0.25]]])
    explained = Explained(image=image, attribution=torch.zeros(2, 2), prediction="$x_1 a long name indeed$")
    rows = [Row(label="$x", clean=explained, adversarial=explained, purified=explained)]
    figure = grad_cam_figure(rows)
    _, _, left, right = panels(figure, rows)[0]
    np.testing.assert_array_equal(left.images[0].get_array(), [[0, 1], [0.5, 0.25]])
    np.testing.assert_array_equal(right.images[0].get_array(), [[0, 1], [0.5, 0.25]])
    assert left.get_title() == "✗ $x_1 a long nam…"
    png(figure, dpi=40)


WRONG_ROWS = {
    "image": ({"image": np.zeros((2, 4, 4))}, r"rows\[0\].adversarial.image: expected \[1 or 3, H, W\]"),
    "size": (
        {"attribution": np.zeros((4, 5))},
        r"rows\[0\].adversarial.attribution: expected a map \[4, 4\]",
    ),
    "range": ({"attribution": np.full((4, 4), 1.5)}, r"must lie in \[0, 1\]"),
    "nan": ({"attribution": np.full((4, 4), np.nan)}, r"must lie in \[0, 1\]"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG_ROWS.values(), ids=WRONG_ROWS)
def test_refuses_what_it_cannot_draw(changes, message):
    content = {"image": np.zeros((3, 4, 4)), "attribution": np.zeros((4, 4)), "prediction": "a"}
    good, bad = Explained(**content), Explained(**content | changes)
    with pytest.raises(InputError, match=message):
        grad_cam_figure([Row(label="a", clean=good, adversarial=bad, purified=good)])


def test_refuses_no_rows():
    with pytest.raises(InputError, match="at least one"):
        grad_cam_figure([])
