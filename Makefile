# The two commands: `make report` and `make test`. The other targets are for people who change the project.
PYTHON ?= python3
DATASET ?=
PROFILE ?= quick
RECIPE ?=
SERIES ?= core
SEEDS ?= 1
SET ?=
RUNS ?= 1000000
BIN := .venv/bin

report: .venv/core  ## run the notebooks on DATASET in PROFILE, or RECIPE; ends with the path of the report
	@LUNGNB_SET='$(SET)' $(BIN)/lungnb report $(if $(DATASET),"$(DATASET)") \
		$(if $(RECIPE),--recipe $(RECIPE),--profile $(PROFILE)) --series $(SERIES) --seeds $(SEEDS)

check: .venv/dev  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy lungnb

# One thread in each process, because more of them than cores wait for each other.
PYTEST := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal --durations=15
test: check  ## the quick unit tests, then notebooks 00 to 07 against their stored outputs
	$(PYTEST) -m "not slow" tests
	$(BIN)/python tools/check_notebooks.py 00 01 02 03 04 05 06 07

test-slow: .venv/dev  ## what `make test` leaves out: the tests marked slow, and notebooks 08 to 13
	$(PYTEST) -m slow tests
	$(BIN)/python tools/check_notebooks.py 08 09 10 11 12 13

test-all: test test-slow jax  ## everything; with the real data sets that LUNGNB_RAW holds

browser: .venv/dev  ## the image browser in JupyterLab and Chromium (chromium and chromedriver must be there)
	LUNGNB_CHROMIUM=1 $(BIN)/python -m pytest -q -rs tests/test_jupyterlab.py tests/test_brush_page.py

cluster: .venv/dev  ## a Ray cluster of two nodes on this machine, its workers killed; alone, for starting a node takes Ray half a minute
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cluster]'
	LUNGNB_CLUSTER=1 $(BIN)/python -m pytest -q -rs tests/segmentation/test_cluster.py

jax: .venv/dev  ## models, losses, metrics and batches on Keras's JAX backend
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[jax]'
	KERAS_BACKEND=jax $(BIN)/python -m pytest -q -n auto --maxprocesses 4 tests/networks/test_models.py \
		tests/networks/test_losses.py
	KERAS_BACKEND=jax $(BIN)/python -m pytest -q tests/networks/test_data.py -k "in_memory and not tensorflow"

CASES ?=
hostile: .venv/dev  ## hostile and damaged input of all kinds, a table of answers in results/benchmarks (Linux); CASES='png thin' for some
	PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m hostile $(CASES)

BENCHMARKS ?= phantom prepare score inference training frameworks
bench: .venv/dev  ## measure on this machine, left alone meanwhile: tables, charts, JSON in results/benchmarks
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

ONLY ?=
FROM ?=
publish-all: .venv/dev  ## make all published results from this state of the code, most important first; a day and more, and it resumes; LIST=1 lists the steps, ONLY='adapt quick' or FROM=adapt chooses some
	@$(BIN)/python tools/publish_all.py $(if $(LIST),--list) $(if $(ONLY),--only $(ONLY)) $(if $(FROM),--from $(FROM))

page: .venv/core  ## build the page that `lungnb page` writes, with ONNX Runtime from the npm registry and its notices from PyPI (needs npm)
	npm install --prefix tools --no-package-lock --ignore-scripts --no-audit --no-fund
	$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --dest tools/node_modules \
		onnxruntime==$$(node -p 'require("./tools/package.json").dependencies["onnxruntime-web"]')
	$(BIN)/python tools/make_page.py

badges: .venv/dev  ## write the address in pyproject.toml, [project.urls] Repository, into README and notebook 00
	$(BIN)/python tools/badges.py

baseline: .venv/dev  ## run every notebook on phantoms in the quick profile and store its outputs
	$(BIN)/python tools/baseline.py

# The fuzzing in parts, a process each: atheris holds on to arrays that it sees compared.
robust: .venv/dev  ## before a release: thirty kills, a million fuzzed files (Linux), known holes of the packages
	LUNGNB_KILLS=30 $(BIN)/python -m pytest -q tests/test_interruption.py tests/test_whole_report.py
	$(BIN)/python -m pip install --quiet --constraint constraints.txt atheris pip-audit
	corpus=$$(mktemp -d); for part in 1 2 3 4 5; do \
		LUNGNB_CORPUS=$$corpus $(BIN)/python tests/fuzz.py -runs=$$(($(RUNS) / 5)) -rss_limit_mb=4096 -timeout=20 \
			-max_len=100000 || exit 1; \
		LUNGNB_FUZZ=files LUNGNB_CORPUS=$$corpus $(BIN)/python tests/fuzz.py -runs=$$(($(RUNS) / 100)) \
			-rss_limit_mb=4096 -timeout=20 -max_len=100000 || exit 1; done
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt \
		|| echo "Known holes were found, or could not be looked up: see above."

release: page test  ## check version, changelog and licences, build the wheel, try it in an empty folder, list all packages; publishes nothing
	$(BIN)/python -m pip install --quiet --constraint constraints.txt cyclonedx-bom
	$(BIN)/python tools/release.py

weights: .venv/dev  ## train the shipped network further, on drawn images alone; an hour on 2 cores; an interrupted run continues
	$(BIN)/python tools/train_shipped.py lungnb/weights/phantom.keras

docs: .venv/dev  ## the documentation as a site in docs/_build/html; needs no connection once installed
	$(BIN)/python docs/build_site.py

lab: .venv/core  ## JupyterLab in the project's folder, with notebook 00 open; it asks no server for news, updates or extensions
	$(BIN)/jupyter lab --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
		--LabApp.extension_manager=readonly --LabApp.default_url=/lab/tree/notebooks/00_start.ipynb

format: .venv/dev
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:  ## remove prepared data and results, not raw data and not .venv
	rm -rf data/prepared
	find results -mindepth 1 -maxdepth 1 ! -name published -exec rm -rf {} +

.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11 to 3.13 is needed: make PYTHON=...")'
	@echo "Installing into .venv; this takes a few minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/dev: .venv/core
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.PHONY: report check test test-slow test-all hostile bench publish-all jax browser cluster page badges baseline robust release weights \
	docs lab format clean
