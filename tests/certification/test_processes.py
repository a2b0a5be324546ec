"""Two processes, started as a user would start them, count what one does."""

import pytest
from training.test_processes import launch
from training.tiny import finished

import purespike as ps


@pytest.mark.slow
def test_two_processes_certify_what_one_does(tmp_path):
    line = ("certify", finished(), "--n", 40, "--n0", 10, "--sigma", 1, "--images", 5, "--out")
    found = []
    for processes in (1, 2):
        launch(*line, tmp_path / f"{processes}", processes=processes)
        found.append(ps.Certification.read(tmp_path / f"{processes}" / "certification.json"))
    one, two = found
    assert two.settings["processes"] == 2
    for name, each in one.models.items():
        assert two.models[name].certificates == each.certificates
