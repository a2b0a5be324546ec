import subprocess
import sys

import pytest

from purespike.data import load_data
from purespike.data.sources import is_downloaded
from purespike.errors import InputError


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mnits", r"unknown data set 'mnits': did you mean 'mnist'\? known: .*npz:/path/NAME"),
        ("", "unknown data set ''"),
        ("zip:/a/b", "unknown data set 'zip:/a/b'"),
        ("npz:", "names nothing after the colon"),
        ("folder:", "names nothing after the colon"),
        ("hub:", "names nothing after the colon"),
    ],
)
def test_what_cannot_be_a_source(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_data(source)


def test_import_is_light() -> None:
    code = (
        "import sys, purespike.data; print([m for m in ('datasets', 'sklearn', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("source", "downloaded"),
    [
        ("digits", False),
        ("npz:arrays/mnist", False),
        ("folder:/somewhere", False),
        ("mnist", True),
        ("cifar100", True),
        ("hub:owner/name", True),
        ("nothing", False),
    ],
)
def test_which_sources_are_downloaded(source, downloaded):
    assert is_downloaded(source) == downloaded


def test_a_folder_of_the_hub_s_files_is_not_downloaded(tmp_path):
    assert not is_downloaded(f"hub:{tmp_path}")
