# Each target sets up what it needs: Python 3.11 or newer and make are all that is asked of the machine.
PYTHON ?= python3
DATA ?= data
RECIPE ?= compact
# CPU builds of torch; where this index cannot be reached, pip's own choice is taken (on Linux with CUDA, some GB).
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
ARCHIVE := model-store/cifar10.mar
ARCHIVED := $(wildcard model/*.py model/int8.onnx) model/weights.safetensors model/manifest.json \
	$(wildcard handler/*.py) handler/model-config.yaml
CHECKOV := 3.3.30
DOCKERFILES := handler/Dockerfile gateway/Dockerfile deploy/scaled/Dockerfile

.PHONY: help serve models test test-containers fuzz check locks audit policies format translations train evaluate quantize \
	compare bench bench-peers bench-engines bench-long bench-profile bench-training chaos soak archive data clean

help:
	@echo "make serve     start the service: page and API on http://127.0.0.1:8000"
	@echo "make models    the model's versions in the running service: ARGS=list, ARGS=--help for the rest"
	@echo "make test      run every test but those of the images"
	@echo "make test-containers  build the images and test what runs of them; needs Docker with compose"
	@echo "make fuzz      fuzz the decoding of pictures for 20 minutes; ARGS=\"--seconds 60\""
	@echo "make check     formatter, linters, types (reads only); make format mends what can be mended"
	@echo "make locks     remake requirements/locks/, what the images install, with hashes; make audit asks for known faults"
	@echo "make policies  ask Checkov for what should not be in Kubernetes' manifests and in Dockerfiles"
	@echo "make translations  find new texts for gateway/translations/*/LC_MESSAGES/messages.po, and compile those files"
	@echo "make data      show what CIFAR-10 is (downloads it into DATA=$(DATA) if it is not there)"
	@echo "make train     train a network anew, RECIPE=compact, served or reference; ARGS=--help lists the settings"
	@echo "make evaluate  measure the served weights and redraw the plots; ARGS=--help for photographs and corruptions"
	@echo "make quantize  make the 8-bit network of the served weights, which answers several times as fast"
	@echo "make compare   remake table and plots of the networks side by side; ARGS=--plan, --train or --help"
	@echo "make bench     measure the service beside its limit and beside TorchServe as it comes"
	@echo "make bench-peers   the same weights behind LitServe, BentoML, Ray Serve and FastAPI, beside the service"
	@echo "make bench-engines  speed and accuracy of the engines that could compute the network"
	@echo "make bench-profile  where the time of a request goes; needs root on most Linux machines"
	@echo "make bench-long    ten minutes at 64 connections: errors, and what all processes hold"
	@echo "make bench-training  a step of training by the kind of number and of convolution"
	@echo "make chaos     break, overload and stop a running service of its own, and report what became of requests"
	@echo "make soak      a million requests, and what the service's processes hold meanwhile; ARGS=--help for fewer"
	@echo "make archive   pack $(ARCHIVE)"
	@echo "make clean     remove the virtual environments, $(ARCHIVE) and the tools' caches"

serve: $(ARCHIVE)
	$(BIN)/python -m launcher

models: $(VENV)/serve.stamp
	@$(BIN)/python -m operations $(or $(ARGS),list)

test: $(VENV)/dev.stamp $(ARCHIVE)
	$(BIN)/python -m pytest $(ARGS)

test-containers: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m containers tests/containers $(ARGS)

fuzz: $(VENV)/dev.stamp
	$(BIN)/python -m tests.fuzz $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint $(DOCKERFILES)

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

locks: $(VENV)/audit.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python requirements/lock.py

audit: $(VENV)/audit.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python requirements/audit.py

policies: $(VENV)/audit.stamp
	$(BIN)/uv tool run --quiet checkov==$(CHECKOV) --config-file deploy/checkov.yaml

translations: $(VENV)/serve.stamp
	$(BIN)/pybabel -q extract -F gateway/babel.cfg --no-location --omit-header --sort-output -o gateway/translations/messages.pot gateway
	$(BIN)/pybabel -q update -N --ignore-obsolete --width 120 -i gateway/translations/messages.pot -d gateway/translations
	$(BIN)/pybabel -q compile -d gateway/translations
	@rm gateway/translations/messages.pot

data: $(VENV)/train.stamp
	$(BIN)/python -m training.data --data $(DATA) $(ARGS)

train: $(VENV)/train.stamp
	$(BIN)/python -m training $(RECIPE) --data $(DATA) $(ARGS)

evaluate: $(VENV)/train.stamp
	$(BIN)/python -m training.evaluate --data $(DATA) $(ARGS)

quantize: $(VENV)/train.stamp
	$(BIN)/python -m training.quantize --data $(DATA) $(ARGS)

compare: $(VENV)/train.stamp
	$(BIN)/python -m training.compare --data $(DATA) $(ARGS)

bench: $(VENV)/train.stamp $(ARCHIVE)
	$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(VENV)/train.stamp $(ARCHIVE) $(PEERS)/stamp
	$(BIN)/python -m benchmarks.peers $(ARGS)

bench-long: $(VENV)/train.stamp $(ARCHIVE)
	$(BIN)/python -m benchmarks.long $(ARGS)

bench-profile: $(VENV)/dev.stamp $(ARCHIVE)
	$(BIN)/python -m benchmarks.profile $(ARGS)

bench-engines: $(VENV)/train.stamp $(PEERS)/stamp
	$(BIN)/python -m benchmarks.engines --data $(DATA) $(ARGS)

bench-training: $(VENV)/train.stamp
	$(BIN)/python -m benchmarks.training $(ARGS)

chaos soak: $(VENV)/train.stamp $(ARCHIVE)
	$(BIN)/python -m resilience $@ $(ARGS)

# Packs in any case: what is there may be damaged, which make cannot see by its date.
archive: | $(VENV)/serve.stamp
	$(BIN)/python -m handler.archive

$(ARCHIVE): $(ARCHIVED) | $(VENV)/serve.stamp
	$(BIN)/python -m handler.archive

SERVED := requirements/torchserve.txt requirements/gateway.txt
$(VENV)/serve.stamp: $(SERVED)
$(VENV)/train.stamp: requirements/serve.txt $(SERVED)
$(VENV)/dev.stamp: requirements/serve.txt requirements/train.txt $(SERVED)
$(VENV)/%.stamp: requirements/%.txt requirements/constraints.txt $(VENV)/torch.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(VENV)/torch.stamp: requirements/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --retries 0 --timeout 15 \
		--index-url $(TORCH_INDEX) -c requirements/constraints.txt torch 2>/dev/null \
		|| echo "no CPU build of torch at $(TORCH_INDEX): taking the one that pip finds"
	@touch $@

$(PEERS)/stamp: requirements/peers.txt requirements/peers-constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(ARCHIVE) .mypy_cache .pytest_cache .ruff_cache
