# Each target does its own set-up in .venv; the pinned versions are in constraints.txt.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3 2>/dev/null))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := build/demo

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs bench soak bounds fuzz faults wheel audit pins papers clean

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 10

demo: .venv/.ready ## train on real digits, compile for Loihi 2, verify bit for bit, report
	$(BIN)/hmdf-train --data digits --net small --weights ternary --neuron mpbn --time-steps 4 --spike-bits 4 --epochs 15 --threads 1 --out $(DEMO)
	$(BIN)/hmdf-compile $(DEMO)/model.pt --target loihi2 --out $(DEMO)
	$(BIN)/hmdf-sim $(DEMO)/model.hmdf --data digits --split test --against $(DEMO)/model.pt --verify reference --json $(DEMO)/out.json
	$(BIN)/hmdf-report $(DEMO) $(DEMO)/out.json -o $(DEMO)/report.html

test: .venv/.ready-dev ## the whole test suite, in real onnxruntime and real Lava
	$(BIN)/python -m pytest --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: .venv/.ready-dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

docs: .venv/.ready-dev ## the guides and the API as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: .venv/.ready-dev ## the performance tables, also as JSON in build/bench
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/training.py

soak: .venv/.ready-dev ## 10,000 random programs in onnxruntime and Numba, 500 in Lava, 2,000 random networks
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/soak.py --executor lava --programs 500
	$(BIN)/python benchmarks/soak.py --networks --programs 2000

papers: .venv/.ready-dev ## the next run of the papers' tables that is not finished: on a GPU, hours
	$(BIN)/python -m experiments.papers

bounds: .venv/.ready-dev ## every load and store of the kernels checked: 1,000 random programs and the edges, on each path
	for path in $$($(BIN)/python -c 'from hmdf.sim.kernels.paths import available_paths; print(*available_paths())'); do \
	  HMDF_KERNELS=$$path $(BIN)/python benchmarks/soak.py --executor checked --edges --samples 2 && \
	  HMDF_KERNELS=$$path $(BIN)/python benchmarks/soak.py --executor checked --programs 1000 || exit 1; done

MINUTES ?= 10
fuzz: .venv/.ready-fuzz ## every reader and command line, guided by coverage, for MINUTES=10
	$(BIN)/python benchmarks/fuzz.py --minutes $(MINUTES)

faults: .venv/.ready-dev ## every write of every command: killed, disk full, read-only
	$(BIN)/python benchmarks/faults.py

wheel: .venv/.ready-supply ## the wheel in build/wheel, built twice with equal bytes, and its bill of materials
	$(BIN)/python .ci/wheel.py

audit: .venv/.ready-supply ## known vulnerabilities of what is pinned
	$(BIN)/python .ci/audit.py

# Lava and the frameworks whose networks the tests of NIR compile are no dependencies: they declare another Python, drivers
# of chips, torchvision, older releases of nir, none of which they need here.
UNDECLARED := \
  lava-nc==0.10.0:d646723e888a72868dac77d31beee3eef1f540366a8c1a8578a2dc3302470926 \
  snntorch==1.0.0:b5a85f6f44c6d27c8a1dcea16cb18a630d00b8d2f3cfec85b7e580cb177e606b \
  sinabs==3.1.3:9ea98df42d4fb64245023a881865e25d12f79290090ca06183849b61f16aa240 \
  spikingjelly==2.0.0:dee753bade33e8dca62e88fd4ba6e3c89e6bc56c6fdd9c8c151d5680222edac1 \
  norse==1.1.0:3f70b8579251316761f7a950680136029fcd9d92bbcc53531366d088a8aaf0c8
pins: .venv/.ready-supply ## pins.txt from pyproject.toml and constraints.txt
	printf 'pip\n' | $(BIN)/uv pip compile pyproject.toml - --quiet --all-extras --group dev --group docs -c constraints.txt \
	  --universal --python-version 3.11.7 --generate-hashes --no-annotate --no-header --output-file build/pins.txt
	awk '/^[a-z]/{keep = !/^(torch|nvidia-.*|cuda-.*)==/} keep' build/pins.txt > pins.txt
	printf '%s\n' $(UNDECLARED) | sed 's/:/ --hash=sha256:/' >> pins.txt

clean: ## remove what was built, .venv included
	rm -rf .venv build

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hmdf needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/.ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[all]'
	@touch $@

# What developers and CI install: pins.txt names every file by its hash (make pins), but for torch, which has another
# wheel for each kind of machine. Lava declares Python 3.10 only and is installed without its declared dependencies: see
# docs/lava.md. Dependency groups need pip 25.1.
.venv/.ready-dev: .venv/bin/python pyproject.toml constraints.txt pins.txt
	$(PIP) install --require-hashes --no-deps --ignore-requires-python -r pins.txt
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[all]' --group dev --group docs
	@touch $@ .venv/.ready

.venv/.ready-fuzz: .venv/.ready-dev
	$(PIP) install -c constraints.txt --group fuzz
	@touch $@

.venv/.ready-supply: .venv/.ready-dev
	$(PIP) install -c constraints.txt --group supply
	@touch $@
