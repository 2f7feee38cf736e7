#!/usr/bin/env bash
# Makes .venv-contract and installs into it the tools that requirements-contract.lock names: apart from .venv, so that
# they decide nothing about what the daemon runs with. Does nothing when that is done already.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv-contract/hookd-setup
wanted="$(cat requirements-contract.lock tools/setup_contract.sh | sha256sum | cut -c 1-64) $PWD"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

echo "setup: installing the tools of the contract tests into .venv-contract (once; about a minute)" >&2
rm -rf .venv-contract
.venv/bin/python -m venv --without-pip .venv-contract
# .venv has no pip of its own where Debian keeps that in another package; what made .venv has one then.
for python in .venv/bin/python "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')"; do
    if "$python" -m pip --version >/dev/null 2>&1; then break; fi
done
"$python" -m pip --python .venv-contract/bin/python install --quiet --quiet --no-input --progress-bar off \
    --disable-pip-version-check --require-hashes --requirement requirements-contract.lock ||
    { echo "setup: the tools could not be installed (above): see that a package index can be reached" >&2; exit 1; }
echo "$wanted" > "$stamp"
