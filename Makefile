# dsc: everything a developer types. `make` or `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SUDO   := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DEMO   := build/demo

# A package of Debian is installed only where the file it brings is missing.
need = [ -e $(1) ] || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $(2) >/dev/null; }

.PHONY: help
help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/bin/pip:
	@command -v cc >/dev/null || { $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing dsc into $(VENV)"
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing dsc and its development tools into $(VENV)"
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.runtime

.PHONY: setup
setup: $(VENV)/.dev  ## Virtual environment with dsc and the development tools
	@$(call need,/usr/share/datasets/fashion-mnist,dataset-fashion-mnist)
	@$(call need,/usr/bin/cmake,cmake)
	@$(call need,/usr/bin/g++,g++)
	@$(call need,/usr/bin/aarch64-linux-gnu-g++,g++-aarch64-linux-gnu)
	@$(call need,/usr/bin/qemu-aarch64-static,qemu-user-static)
	@$(call need,/usr/bin/ld.lld-19,lld-19)
	@$(call need,/usr/share/doc/rocm-device-libs,rocm-device-libs)
	@$(call need,/usr/include/hip/hip_runtime_api.h,libamdhip64-dev)

.PHONY: demo
demo: $(VENV)/.runtime  ## Compile a real network, verify it, classify a photograph, compare latencies
	@mkdir -p $(DEMO)
	@set -x; \
	$(BIN)/dsc compile zoo:efficientnet-lite0 -o $(DEMO)/efficientnet-lite0.dsc; \
	$(BIN)/dsc verify zoo:efficientnet-lite0 --module $(DEMO)/efficientnet-lite0.dsc; \
	$(BIN)/dsc run $(DEMO)/efficientnet-lite0.dsc --input zoo:photo --top 5; \
	$(BIN)/dsc bench zoo:efficientnet-lite0 --module $(DEMO)/efficientnet-lite0.dsc --against onnxruntime

.PHONY: test
test: setup  ## Run the tests (installs all they need)
	@$(BIN)/python -m pytest -n 2 --dist worksteal

# mypy and import-linter do not follow the mapping of passes/, targets/ and models/ to dsc.*: show them the tree as installed.
.PHONY: lint
lint: $(VENV)/.dev  ## ruff, mypy (strict), import-linter
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q .
	@rm -rf build/tree && mkdir -p build/tree && cp -rp dsc build/tree/ && cp -rp passes targets models build/tree/dsc/
	@MYPYPATH=build/tree $(BIN)/mypy -p dsc
	@cd build/tree && ../../$(BIN)/lint-imports --config ../../pyproject.toml --no-logo

.PHONY: format
format: $(VENV)/.dev  ## Let ruff rewrite what it can
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

.PHONY: bench
bench: $(VENV)/.dev  ## Speed of the zoo against ONNX Runtime, 1 and 2 threads (minutes; quiet machine)
	@$(BIN)/dsc bench --zoo --against onnxruntime --threads 1,2

.PHONY: fuzz
fuzz: $(VENV)/.dev  ## Thousands of random graphs against the references: COUNT=3000 SEED=1
	@$(BIN)/python -m tests.random_graphs --count $(or $(COUNT),3000) $(if $(SEED),--seed $(SEED))

.PHONY: guard
guard: $(VENV)/.dev  ## ONNX's node cases and ragged sizes with guard pages around every tensor (minutes)
	@$(BIN)/python -m tests.guards $(ONLY)

.PHONY: mutations
mutations: setup  ## Break kernels for GPUs in all places, and see what the simulator notices (minutes): ONLY="matmul scan"
	@$(BIN)/python -m tests.simulator.mutations $(ONLY)

.PHONY: amd-mutations
amd-mutations: setup  ## The same of dsc's kernels for AMD's GPUs, in LLVM's code (minutes): ONLY="product softmax"
	@$(BIN)/python -m tests.simulator.amd.mutations $(ONLY)

.PHONY: cuda-cases
cuda-cases: $(VENV)/.dev  ## ONNX's node cases through the GPU kernels, on a simulated device: ONE_IN=1, ARCH=sm_80 or gfx942 (minutes)
	@$(BIN)/python -m tests.targets.cuda --one-in $(or $(ONE_IN),1) --arch $(or $(ARCH),sm_80)

.PHONY: free-sizes
free-sizes: $(VENV)/.dev  ## ONNX's node cases with every dim of every input free (a quarter of an hour)
	@DSC_ALL_FREE_CASES=1 $(BIN)/python -m pytest -q tests/meaning/test_node_cases_of_free_sizes.py

# PyTorch and transformers stay out of the environment of the other targets. Where pip takes CUDA builds of torch by
# default, TORCH_INDEX names an index of CPU builds.
EXPORTS := build/exports
$(EXPORTS)/venv/.ready: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing dsc, torch and transformers into $(EXPORTS)/venv"
	@$(PYTHON) -m venv $(EXPORTS)/venv
	@$(EXPORTS)/venv/bin/pip install -q --disable-pip-version-check -c constraints.txt \
	    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[exports]'
	@touch $@

.PHONY: simulate
simulate: setup  ## Models of the zoo whole, on a simulated GPU, against ONNX Runtime: TARGET=cuda:sm_80 PRECISION=fp16 ONLY="squeezenet"
	@$(BIN)/python -m tests.simulated --target $(or $(TARGET),cuda:sm_80) --precision $(or $(PRECISION),fp32) $(ONLY)

.PHONY: coalescing
coalescing: setup  ## What kernels use of the memory they fetch, model by model: TARGET=rocm:gfx942 PRECISION=fp16 ONLY="squeezenet" (minutes)
	@$(BIN)/python -m tests.coalescing --target $(or $(TARGET),cuda:sm_80) --precision $(or $(PRECISION),fp32) $(ONLY)

.PHONY: gpu
gpu: setup  ## The tests that run on a GPU, on the one that is here (skipped where there is none)
	@$(BIN)/python -m pytest -m gpu -rs tests/gpu tests/targets/cuda

.PHONY: resources
resources: setup  ## Registers, spills and tensor-core instructions of all kernels of ten models: TARGET=rocm:gfx942 PRECISION=fp16 ONLY="gpt2" (minutes)
	@$(BIN)/python -m tests.resources --target $(or $(TARGET),cuda:sm_80) --precision $(or $(PRECISION),fp32) $(ONLY)

.PHONY: bundles
bundles: setup  ## Models of the zoo whole, from bundles, against ONNX Runtime: TARGET=arm (or rocm, cuda: simulated) ONLY="resnet50 gpt2"
	@$(BIN)/python -m tests.bundle --target $(or $(TARGET),x86) $(ONLY)

.PHONY: calibration-memory
calibration-memory: $(VENV)/.dev  ## What calibrating ResNet-50 takes of memory, whatever the number of samples: SAMPLES=10000 (hours)
	@$(BIN)/python -m tests.quantize.memory --samples $(or $(SAMPLES),100)

.PHONY: accuracy
accuracy: $(VENV)/.dev  ## Accuracy of the zoo's models quantized by dsc, against float (ten minutes on idle cores): ONLY="fashion-mnist text-lines"
	@$(BIN)/python -m tests.accuracy $(ONLY)

.PHONY: pruning-accuracy
pruning-accuracy: $(VENV)/.dev  ## Accuracy of the zoo's models pruned by dsc, against float (most of an hour): ONLY="fashion-mnist text-lines"
	@$(BIN)/python -m tests.pruning_accuracy $(ONLY)

.PHONY: exports
exports: $(EXPORTS)/venv/.ready  ## Models of many architectures from PyTorch's exporters, against ONNX Runtime: ONLY="bert t5"
	@$(EXPORTS)/venv/bin/python -m tests.exports --folder $(EXPORTS) $(ONLY)

.PHONY: docs
docs: $(VENV)/.dev  ## Execute the code of docs/ as the tests do
	@$(BIN)/python -m pytest tests/docs

.PHONY: clean
clean:  ## Remove what was built (not the caches of models)
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
