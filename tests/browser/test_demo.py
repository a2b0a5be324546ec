"""The demo in Chromium and by gradio's client: upload, draw, attack, read the numbers back.

The server is the command itself, begun in an empty folder, with the committed models; an audit hook writes
down every address that it connects to.
"""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import purespike as ps
from purespike.data import load_data
from purespike.demo import Attacker, Session, line_up
from purespike.demo.lineup import BARE
from purespike.demo.pictures import data_url, fit, read_data_url

from .conftest import PICTURES, ROOT

RUNS = {"paper": "digits16", "holding": "digits16-holding"}
MODELS = [BARE, *RUNS]
DESK, PHONE = 1280, 390
VIEWS = pytest.mark.parametrize(
    ("width", "scheme"), [(width, scheme) for width in (DESK, PHONE) for scheme in ("light", "dark")]
)
SMALLEST = 11
# written down by the server: where it connects to, and which names it looks up
HOOK = """
import os, sys
def write(*line):
    with open(os.environ["SPOKEN_TO"], "a") as file:
        print(*line, file=file)
def hook(event, given):
    if event in ("socket.connect", "socket.getaddrinfo"):
        write(event, given[1] if event == "socket.connect" else given[0])
sys.addaudithook(hook)
write("listening on 127.0.0.1")
"""


class Server(NamedTuple):
    """The running command."""

    address: str
    folder: Path
    spoken_to: Path
    process: "subprocess.Popen[str]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``purespike demo`` in an empty folder, on a free port."""
    folder, hooks = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("hooks")
    (hooks / "sitecustomize.py").write_text(HOOK)
    models = [f"{name}={ROOT / 'results' / run}" for name, run in RUNS.items()]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{hooks}{os.pathsep}{ROOT / 'src'}",
        "SPOKEN_TO": str(hooks / "spoken"),
        "PYTHONUNBUFFERED": "1",
        "PURESPIKE_COMPILE": "0",
    }
    command = [sys.executable, "-m", "purespike", "demo", *models, "--port", "0", "--limit", "100"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert found, said + process.stdout.read()
        yield Server(found[0], folder, hooks / "spoken", process)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        # it ends at once, without a word and without an error
        assert process.wait(30) == 0
        assert process.stdout.read() == ""


@pytest.fixture(scope="module")
def session() -> Session:
    """The same models without a page."""
    models = {name: ps.load(ROOT / "results" / run) for name, run in RUNS.items()}
    (lineup,) = line_up(models, sources={name: ["digits16"] for name in models})
    return Session(lineup)


@pytest.fixture(scope="module")
def digit() -> tuple[torch.Tensor, int]:
    """A test image that the page does not offer, and its class."""
    test = load_data("digits16").test
    place = int((test.labels == 9).nonzero()[5])
    return test.to_float()[place], 9


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, digit: tuple[torch.Tensor, int]) -> Path:
    """The same image as a file."""
    path = tmp_path_factory.mktemp("pictures") / "nine.png"
    read_data_url(data_url(digit[0])).save(path)
    return path


@pytest.fixture(scope="module")
def client(server: Server) -> Any:
    from gradio_client import Client

    return Client(server.address, verbose=False)


@pytest.fixture
def page(browser: Any, server: Server, width: int, scheme: str) -> Iterator[Any]:
    """The page in one view; whatever it asks for comes from itself, and no script fails."""
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.add_init_script(path=Path(__file__).with_name("measure.js"))
    page.goto(server.address)
    page.wait_for_selector(".ps-model")
    yield page
    page.close()
    assert len(asked) > 20
    own = (server.address, "data:", f"blob:{server.address}")
    assert not [url for url in asked if not url.startswith(own)]
    assert not faults


def columns(page: Any) -> dict[str, dict[str, str]]:
    """What stands in each column, by model."""
    found = {}
    for column in page.query_selector_all(".ps-model"):
        data = column.evaluate("element => ({ ...element.dataset })")
        rows = [row.inner_text().split() for row in column.query_selector_all(".ps-classes tr")]
        found[data.pop("model")] = {**data, **{row[0]: row[-1] for row in rows}}
    return found


def upload(page: Any, path: Path) -> None:
    page.click(".ps-own summary")
    page.set_input_files("#ps-file", path)
    # the example at the beginning gives way
    example = "document.querySelector('[data-example] img').src"
    page.wait_for_function(f"document.querySelector('.ps-model img').src != {example}")


def attack(page: Any, words: str) -> None:
    page.click(f"#threat label:has-text('{words}')")
    page.click("#attack")
    stages = "[...document.querySelectorAll('.ps-model')].map(model => model.dataset.stage)"
    page.wait_for_function(f"{stages}.every(stage => stage == 'end')", timeout=100_000)


@VIEWS
def test_a_picture_is_uploaded_and_attacked(
    page: Any, session: Session, file: Path, digit: tuple[torch.Tensor, int], width: int, scheme: str
) -> None:
    upload(page, file)
    image, _ = digit
    clean = columns(page)
    for title, moment in session.look(image).items():
        shares = [f"{100 * share:.1f}" for share in moment.view.probabilities]
        assert [clean[title][str(k)] for k in range(10)] == shares, title
        assert clean[title]["stage"] == "clean"
    attack(page, "oblivious")
    ends = {moment.title: moment for moment in session.attack(image, attacker=Attacker())}
    shown = columns(page)
    assert list(shown) == MODELS
    for title, moment in ends.items():
        shares = [f"{100 * share:.1f}" for share in moment.view.probabilities]
        assert [shown[title][str(k)] for k in range(10)] == shares, title
        assert shown[title]["predicted"] == str(moment.view.prediction)
        picture = page.get_attribute(f".ps-model[data-model='{title}'] img", "src")
        assert torch.equal(fit(read_data_url(picture), (1, 16, 16)), (moment.view.image * 255).round() / 255)
    # the picture of the page, whole
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=PICTURES / f"demo-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    words = page.evaluate("measure.words()")
    assert len(words) > 60
    small = [word for word in words if word["size"] < SMALLEST or word["contrast"] < 3]
    assert not small
    dark = scheme == "dark"
    cards = [one for one in page.evaluate("measure.grounds()") if "ps-model" in one["element"]]
    assert len(cards) == 3 and all((one["luminance"] < 0.5) == dark for one in cards)


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light")])
def test_earlier_moments_are_shown_again(page: Any) -> None:
    attack(page, "oblivious")
    page.fill("#step input[type=number]", "0")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.ps-model').dataset.stage == 'clean'")
    page.fill("#step input[type=number]", "3")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.ps-model').dataset.step == '2'")
    assert {one["stage"] for one in columns(page).values()} == {"step"}


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (PHONE, "light")])
def test_a_digit_is_drawn(page: Any, width: int) -> None:
    page.click(".ps-draw summary")
    canvas = page.query_selector(".ps-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    scale = box["width"] / 224
    page.mouse.move(box["x"] + 112 * scale, box["y"] + 30 * scale)
    page.mouse.down()
    page.mouse.move(box["x"] + 112 * scale, box["y"] + 190 * scale, steps=8)
    page.mouse.up()
    page.wait_for_function("document.querySelector('#label input').value.startsWith('as the')")
    source = "document.querySelector('.ps-model img').src"
    page.wait_for_function(f"{source} != document.querySelector('[data-example] img').src")
    drawn = fit(read_data_url(page.evaluate(source)), (1, 16, 16))[0]
    # an upright stroke in the middle, as high as the digits of the data
    ink = (drawn > 0.5).nonzero()
    assert 12 <= ink[:, 0].max() - ink[:, 0].min() + 1 <= 16
    assert set(ink[:, 1].tolist()) <= {6, 7, 8, 9}


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "dark")])
def test_gate_and_certificate(page: Any, session: Session) -> None:
    page.click("#gate button")
    page.click("#score input")
    page.click("text=Purification distance")
    page.wait_for_selector(".ps-gate")
    gates = [gate.inner_text() for gate in page.query_selector_all(".ps-gate")]
    examples = session.lineup.examples
    looked = session.look(examples.to_float()[0], int(examples.labels[0]), score="purification_distance")
    expected = [
        f"{'accepted' if one.view.accepted else 'rejected'}: score {one.view.score:.4g}, "
        f"threshold {one.view.threshold:.4g}"
        for one in looked.values()
        if one.view.accepted is not None
    ]
    assert gates == expected and len(gates) == 2
    page.click("#certificate button")
    page.click("#certify")
    page.wait_for_selector(".ps-certificates", timeout=60_000)
    found = session.certify(examples.to_float()[0], int(examples.labels[0]), sigma=0.25, n=200)
    shown = {
        row.get_attribute("data-model"): float(row.get_attribute("data-radius"))
        for row in page.query_selector_all(".ps-certificates tbody tr")
    }
    assert shown == {title: one.certificates[0].radius for title, one in found.models.items()}


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light")])
def test_what_cannot_be_used_is_said_on_the_page(page: Any, tmp_path: Path) -> None:
    stage = page.inner_html("#stage")
    (tmp_path / "no.png").write_bytes(b"no picture")
    page.click(".ps-own summary")
    page.set_input_files("#ps-file", tmp_path / "no.png")
    page.wait_for_selector("text=not a readable image")
    (tmp_path / "large.png").write_bytes(bytes(5 * 2**20 + 1))
    page.set_input_files("#ps-file", tmp_path / "large.png")
    page.wait_for_selector("text=larger than 5 MB")
    assert page.inner_html("#stage") == stage


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light")])
def test_an_attack_is_stopped_and_the_next_one_begins(page: Any) -> None:
    page.click("#threat label:has-text('adaptive')")
    page.fill("#steps input[type=number]", "100")
    page.keyboard.press("Enter")
    page.click("#attack")
    page.wait_for_function("document.querySelector('.ps-model').dataset.stage == 'step'")
    assert page.is_disabled("#attack")
    page.click("#stop")
    # a hundred steps along every route take minutes
    page.wait_for_selector("#attack:enabled", timeout=20_000)
    assert {one["stage"] for one in columns(page).values()} == {"clean", "step"}
    page.fill("#steps input[type=number]", "2")
    page.keyboard.press("Enter")
    attack(page, "oblivious")


def arguments(image: str, **changes: Any) -> list[Any]:
    """Arguments of the attack as the page gives them."""
    given = {
        "image": image,
        "label": 9,
        "model": "paper",
        "score": "",
        "coverage": 0.95,
        "threat": "bpda",
        "attack": "pgd",
        "eps": 8,
        "steps": 3,
        "seed": 0,
    }
    assert changes.keys() <= given.keys()
    return list({**given, **changes}.values())


def test_the_client_gets_the_numbers(client: Any, session: Session, digit: tuple[torch.Tensor, int]) -> None:
    image, label = digit
    job = client.submit(*arguments(data_url(image)), api_name="/attack")
    numbers = job.result(timeout=60)[-1]
    ends = {
        one.title: one for one in session.attack(image, label, Attacker(threat="bpda", eps=8 / 255, steps=3))
    }
    assert numbers == {title: one.numbers(session.lineup.class_names) for title, one in ends.items()}
    # and what came before, moment by moment
    assert len(job.outputs()) > 1
    _, proof = client.predict(data_url(image), label, "paper", 0.1, 50, api_name="/certify")
    found = session.certify(image, label, sigma=0.1, n=50)
    assert proof["models"][BARE]["agreed"] == found.models[BARE].certificates[0].n_a
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/attack", "/certify"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": ""}, "no image yet"),
        ({"image": "https://example.org/x.png"}, "must be the text data:image"),
        ({"eps": 0}, "eps|minimum|less than"),
        ({"threat": "nobody"}, "nobody"),
        ({"attack": "square", "threat": "bpda"}, "makes no sense|not in the list"),
        ({"model": "none"}, "none"),
        ({"label": 77}, "77"),
    ],
)
def test_the_client_is_told_what_is_wrong(
    client: Any, digit: tuple[torch.Tensor, int], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(Exception, match=said) as error:
        client.predict(*arguments(**{"image": data_url(digit[0]), **changes}), api_name="/attack")
    assert "Traceback" not in str(error.value)


def test_files_and_addresses_are_not_fetched(client: Any, server: Server) -> None:
    for place in ("https://example.org/x.png", "http://169.254.169.254/x", "/etc/passwd"):
        sent = {"path": place, "url": place, "meta": {"_type": "gradio.FileData"}}
        with pytest.raises(Exception):  # noqa: B017
            client.predict(*arguments(sent), api_name="/attack")  # type: ignore[arg-type]
    assert "example" not in server.spoken_to.read_text() and "169.254" not in server.spoken_to.read_text()


def test_the_server_refuses_large_bodies_and_other_names(server: Server) -> None:
    import httpx

    assert httpx.get(server.address, headers={"host": "evil.example"}).status_code == 403
    assert httpx.post(server.address, headers={"origin": "https://evil.example"}).status_code == 403
    assert httpx.post(server.address, content=bytes(8 * 2**20)).status_code == 413
    noise = Image.fromarray(np.random.default_rng(0).integers(256, size=(1400, 1400, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    assert len(buffer.getvalue()) > 5 * 2**20
    files = {"files": ("x.png", buffer.getvalue())}
    assert httpx.post(f"{server.address}gradio_api/upload", files=files).status_code in (404, 413)


def test_nothing_was_called_and_nothing_was_written(server: Server) -> None:
    spoken = set(server.spoken_to.read_text().splitlines())
    assert "listening on 127.0.0.1" in spoken
    assert not [line for line in spoken if "127.0.0.1" not in line and "localhost" not in line]
    assert list(server.folder.iterdir()) == []
