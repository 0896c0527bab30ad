# The project's commands. They use the virtual environment that the README's test block creates.

export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")

compile := "uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes" + \
    " --no-emit-index-url --no-annotate --custom-compile-command 'just lock'"

[private]
default:
    @just --list --unsorted

# Fast tests: no servers, no browser, under three minutes on 2 cores
test *arguments:
    pytest -m "not slow" {{ arguments }}

# Every test, as CI runs them
all *arguments:
    pytest {{ arguments }}

# Checks that take hours: long chaos, repeated kills, long fuzzing, pictures, benchmarks
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

# Debian packages in dist/ from the result of `build`; all, or those named as RELEASE/ARCHITECTURE
deb *targets:
    .ci/deb dist {{ targets }}

# Test this commit and make the release commit: `just release 1.2.3`
release version *arguments:
    python -m deploy.release prepare {{ version }} {{ arguments }}

# Update the generated parts of the documents
docs:
    python -m deploy.reference $(find deploy/docs deploy/helm -name '*.md')

# Build the documentation's site in dist/site/site, without a warning
site:
    python -m deploy.reference.site dist/site

# Run the exporter with a simulated fleet
demo *arguments:
    loadfleet-exporter demo {{ arguments }}

# Update the lock and the image's lists to the newest versions that pyproject.toml allows
lock:
    {{ compile }} --upgrade --extra dev --output-file constraints.txt pyproject.toml
    {{ compile }} --constraint constraints.txt --extra speed --output-file deploy/image/runtime.txt pyproject.toml
    printf 'locust\n' | {{ compile }} --upgrade --output-file .ci/locust.txt -
    printf 'hatchling\nhatch-fancy-pypi-readme\ncyclonedx-bom\n' | {{ compile }} --constraint constraints.txt --output-file deploy/image/build.txt -

# Benchmark against other exporters
bench *arguments:
    python -m tests.bench {{ arguments }}
