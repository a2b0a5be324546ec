# The two commands: `make demo` and `make test`. Each target sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# On a machine without a GPU, TORCH_ARGS can name PyTorch's own index of CPU builds, which are far smaller.
TORCH_ARGS ?=
READY := $(VENV)/.ready

.PHONY: demo test test-slow test-browser docs notebook bench torture check format clean

demo: $(READY)
	$(BIN)/purespike run recipes/digits16.yaml --out runs/demo/paper
	$(BIN)/purespike run recipes/digits16-holding.yaml --classifier runs/demo/paper/classifier.safetensors \
		--beside paper=runs/demo/paper --out runs/demo/holding

test: check
	$(BIN)/python -m pytest -n 2 -m "not slow and not browser" --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# The pages in Chromium: the one that CHROMIUM names, one on the path, or Debian's, installed here; skipped,
# with a line that says why, where there is none to be had.
test-browser: $(VENV)/.browser
	@CHROMIUM=$$(CHROMIUM="$(CHROMIUM)" sh tests/browser/chromium.sh) && export CHROMIUM && \
	$(BIN)/python -m pytest tests/browser

$(VENV)/.browser: $(READY)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[browser,demo]" && touch $@ || \
	echo "make test-browser: skipped, playwright, pypdf and gradio cannot be installed" >&2

# The documentation as a site in build/site, built without a network and checked: links, and that no page loads
# anything from elsewhere.
docs: $(VENV)/.docs
	$(BIN)/python -m docsite

# The notebooks of examples/ run anew, and keep what they print and draw; about a minute and a half.
notebook: $(VENV)/.docs
	$(BIN)/python -m docsite.execute

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --out runs/benchmarks

torture: $(READY)
	$(BIN)/python -m torture --out results/torture

$(VENV)/.bench: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps spikingjelly
	touch $@

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(TORCH_ARGS) torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) runs build .pytest_cache .mypy_cache .ruff_cache .hypothesis
