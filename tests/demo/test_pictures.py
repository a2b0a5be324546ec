"""Pictures come in safely, fit the model, and come out pixel by pixel."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from purespike.demo.pictures import LIMIT, data_url, extent_of, fit, fit_drawing, read_data_url
from purespike.errors import InputError


def text_of(picture, kind="PNG", **more):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **more)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_there_and_back_is_the_same(channels):
    image = torch.randint(256, (channels, 7, 5), generator=torch.Generator().manual_seed(0)) / 255
    assert torch.equal(fit(read_data_url(data_url(image)), (channels, 7, 5)), image)


def test_the_middle_is_cut_out_and_resized_as_pillow_does():
    pixels = np.random.default_rng(0).integers(256, size=(40, 90, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    ours = fit(read_data_url(text_of(picture)), (3, 16, 16))
    middle = picture.resize((16, 16), Image.Resampling.LANCZOS, box=(25, 0, 65, 40))
    assert torch.equal((ours * 255).round().permute(1, 2, 0).byte(), torch.from_numpy(np.array(middle)))
    inverted = fit(read_data_url(text_of(picture)), (3, 16, 16), invert=True)
    torch.testing.assert_close(inverted, 1 - ours)


def test_photographs_are_set_upright_and_transparency_is_white():
    pixels = np.zeros((4, 8), np.uint8)
    pixels[:, :4] = 200
    exif = Image.Exif()
    exif[0x0112] = 3
    upright = read_data_url(text_of(Image.fromarray(pixels), exif=exif))
    assert np.array_equal(np.array(upright), pixels[::-1, ::-1])
    clear = Image.new("RGBA", (3, 3), (0, 0, 0, 0))
    assert read_data_url(text_of(clear)).getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize(("height", "width"), [(28, 28), (16, 20)])
def test_a_drawing_is_centred_and_as_large_as_asked(height, width):
    paper = Image.new("L", (224, 224))
    paper.paste(255, (10, 20, 40, 120))
    drawn = fit_drawing(paper, (3, height, width), extent=0.5)
    assert drawn.shape == (3, height, width)
    rows, columns = (torch.nonzero(drawn[0].amax(dim) > 0.5).squeeze(1) for dim in (1, 0))
    assert len(rows) == round(0.5 * min(height, width))
    for found, side in ((rows, height), (columns, width)):
        assert abs((found[0] + found[-1]) / 2 - (side - 1) / 2) <= 0.5
    assert torch.equal(drawn[0], drawn[2])


def test_the_extent_of_images_is_that_of_their_ink():
    images = torch.zeros(2, 1, 20, 20)
    images[0, :, 5:15, 8:10] = 1
    images[1, :, 9:10, 2:18] = 1
    assert extent_of(images) == pytest.approx((10 / 20 + 16 / 20) / 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be the text data:image/png;base64"),
        ("https://example.org/x.png", "must be the text"),
        ("data:text/html;base64,PGI+", "must be the text"),
        ("data:image/png;base64,***", "is not base64"),
        ("data:image/png;base64,aGVsbG8=", "not a readable image"),
        (f"data:image/png;base64,{'A' * (LIMIT * 4 // 3 + 8)}", "the limit is 5 MB"),
        # a program in PostScript is no picture
        (
            "data:image/png;base64," + base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n").decode(),
            "not a readable image",
        ),
    ],
)
def test_other_texts_are_refused(text, said):
    with pytest.raises(InputError, match="the image") as error:
        read_data_url(text)
    assert said in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(("side", "said"), [(8_000, "50 megapixels"), (14_000, "bomb")])
def test_a_bomb_is_refused(side, said):
    text = text_of(Image.new("1", (side, side)))
    assert len(text) < 100_000
    with pytest.raises(InputError, match=said):
        read_data_url(text)


def test_an_empty_drawing_is_refused():
    with pytest.raises(InputError, match="empty"):
        fit_drawing(Image.new("L", (224, 224)), (1, 28, 28))


def test_grey_stays_grey_and_colour_becomes_grey_where_the_model_is():
    colour = Image.new("RGB", (8, 8), (255, 0, 0))
    grey = fit(read_data_url(text_of(colour)), (1, 8, 8))
    assert grey.shape == (1, 8, 8) and grey[0, 0, 0] * 255 == ImageOps.grayscale(colour).getpixel((0, 0))
