"""``python -m docsite.execute``: run the notebooks of ``examples/`` and keep what they print and draw."""

import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from docsite.places import ROOT


def told(output: Any) -> bool:
    """Whether an output is of the page: not a warning, nor a progress bar, which is drawn as HTML."""
    if output["output_type"] == "stream":
        return bool(output["name"] == "stdout")
    return "text/html" not in output.get("data", {}) or "image/png" in output["data"]


def execute(path: Path) -> None:
    """Run a notebook from top to bottom, and write its outputs into it; an error of a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    for cell in notebook.cells:
        # times of day, which would change the file with every run
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if told(output)]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for each in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted((ROOT / "examples").glob("*.ipynb")):
        execute(each)
        print(each)
