"""Pages in Chromium, which the environment variable CHROMIUM names: `make test-browser` sets it.

Without it, or without the packages of the extras ``browser`` and ``demo``, everything here is skipped.
Screenshots of all that was looked at are left in ``runs/browser/``.
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reporting.conftest import make_evaluation, make_history, make_samples

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "runs" / "browser"
RUNS = ("digits", "mnist-small", "cifar10-small")
REPORTS = (*RUNS, *(f"{name}/full" for name in RUNS), "made")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ready = os.environ.get("CHROMIUM") and all(
        map(importlib.util.find_spec, ("playwright", "pypdf", "gradio"))
    )
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if not ready:
                item.add_marker(pytest.mark.skip(reason="needs Chromium and playwright: `make test-browser`"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # the sandbox refuses root, containers have none, and the pages are our own
        browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def look(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens an address: ``look(address, name, width, scheme)`` gives playwright's page."""
    opened: dict[tuple[str, int, str], Any] = {}

    def look(address: str, name: str, width: int = 1280, scheme: str = "light") -> Any:
        if (name, width, scheme) not in opened:
            page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
            page.add_init_script(path=Path(__file__).with_name("measure.js"))
            page.goto(address)
            picture = f"{name.replace('/', '-')}-{width}-{scheme}.png"
            page.screenshot(path=PICTURES / picture, full_page=True)
            opened[name, width, scheme] = page
        return opened[name, width, scheme]

    yield look
    for page in opened.values():
        page.close()


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The addresses of reports: of the committed runs, and of a made-up one with all that a run leaves."""
    from purespike.reporting import section
    from purespike.reporting.page import write_report
    from purespike.results import Comparison, Verdict

    folder = tmp_path_factory.mktemp("reports")
    for name in REPORTS[:-1]:
        (folder / name).mkdir(parents=True)
        for file in ("evaluation.json", "history.jsonl", "recipe.yaml", "environment.json"):
            if (ROOT / "results" / name / file).exists():
                shutil.copy(ROOT / "results" / name / file, folder / name)
    shutil.copytree(folder / "digits", folder / "made")
    for name in (*RUNS, "made"):
        make_samples().save(folder / name / "samples.npz")
    evaluation = make_evaluation()
    evaluation.save(folder / "made" / "evaluation.json")
    long = "a-run_whose-name_is-as-long(width=128,steps=4)"
    judged = evaluation.model_copy(update={"verdict": Verdict.of([])})
    beside = {"paper": judged, long: evaluation}
    Comparison.of("made", evaluation, beside).save(folder / "made" / "comparison.json")
    lines = [json.dumps(row.to_json()) + "\n" for row in make_history()]
    (folder / "made" / "history.jsonl").write_text("".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        # the page shows SVG; drawing the files beside it would take as long again
        patch.setattr(section, "png", lambda figure: b"")
        return {name: write_report(folder / name).as_uri() for name in REPORTS}


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the leaderboard of the committed results and of a few models more."""
    from leaderboard.test_leaderboard import CARMON, ours, put

    from purespike.leaderboard.rendering import write_leaderboard

    folder = tmp_path_factory.mktemp("board")
    for path in (ROOT / "results").rglob("card-*.json"):
        shutil.copy(path, folder / f"{path.parent.parent.name}-{path.name}")
    more = {"transfer_acc": "80.00", "query_acc": "70.00", "autoattack_acc": "26.00"}
    long = "A-model_whose-name_is-as-long-as-those-of-papers(width=128,steps=4)"
    put(folder, a=ours("first", 25, **more), b=ours(long, 9, architecture=long), Linf__c=CARMON)
    return write_leaderboard(folder, folder).as_uri()
