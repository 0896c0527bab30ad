# The project's verbs. They use the virtual environment that the README's test block makes.

export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")

compile := "uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes" + \
    " --no-emit-index-url --no-annotate --custom-compile-command 'just lock'"

[private]
default:
    @just --list --unsorted

# The fast lane: no servers, no browser, under three minutes on 2 cores
test *arguments:
    pytest -m "not slow" {{ arguments }}

# Every test, as CI runs them
all *arguments:
    pytest {{ arguments }}

# What takes hours: long chaos, repeated kills, long fuzzing, pictures, benchmarks
slow:
    .ci/slow

# ruff, mypy, import-linter and bandit
lint:
    ruff check .
    ruff format --check .
    mypy
    lint-imports
    bandit --quiet --recursive --configfile pyproject.toml exporter deploy

# sdist, wheel, SBOM and chart in dist/
build:
    .ci/build

# Debian packages of what `build` made, beside it; all, or those named as RELEASE/ARCHITECTURE
deb *targets:
    .ci/deb dist {{ targets }}

# Test this commit and make a release of it: `just release 1.2.3`
release version *arguments:
    python -m deploy.release prepare {{ version }} {{ arguments }}

# Bring the generated parts of the documents up to date
docs:
    python -m deploy.reference $(find deploy/docs deploy/helm -name '*.md')

# Build the documentation's site in dist/site/site, without a warning
site:
    python -m deploy.reference.site dist/site

# Watch a simulated fleet
demo *arguments:
    loadfleet-exporter demo {{ arguments }}

# Take the newest versions that pyproject.toml allows into the lock and into the image's lists
lock:
    {{ compile }} --upgrade --extra dev --output-file constraints.txt pyproject.toml
    {{ compile }} --constraint constraints.txt --extra speed --output-file deploy/image/runtime.txt pyproject.toml
    printf 'locust\n' | {{ compile }} --upgrade --output-file .ci/locust.txt -
    printf 'hatchling\nhatch-fancy-pypi-readme\ncyclonedx-bom\n' | {{ compile }} --constraint constraints.txt --output-file deploy/image/build.txt -

# Measure beside peers
bench *arguments:
    python -m tests.bench {{ arguments }}
