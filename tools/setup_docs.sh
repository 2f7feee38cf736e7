#!/usr/bin/env bash
# Makes .venv-docs and installs into it what requirements-docs.lock names: apart from .venv, so that what the site is
# built with decides nothing about what the daemon runs with. Does nothing when that is done.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv-docs/hookd-setup
wanted="$(cat requirements-docs.lock tools/setup_docs.sh | sha256sum | cut -c 1-64) $PWD"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

echo "setup: installing the tools of the documentation into .venv-docs (once)" >&2
rm -rf .venv-docs
.venv/bin/python -m venv --without-pip .venv-docs
# .venv has no pip of its own where Debian keeps that in another package; what made .venv has one then.
for python in .venv/bin/python "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')"; do
    if "$python" -m pip --version >/dev/null 2>&1; then break; fi
done
"$python" -m pip --python .venv-docs/bin/python install --quiet --quiet --no-input --progress-bar off \
    --disable-pip-version-check --require-hashes --requirement requirements-docs.lock || {
    echo "setup: the tools could not be installed (above): see that a package index can be reached" >&2
    exit 1
}
echo "$wanted" > "$stamp"
