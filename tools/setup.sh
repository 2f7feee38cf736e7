#!/usr/bin/env bash
# Makes .venv and installs into it what requirements.lock names, and hookd itself from this directory.
# Does nothing when that is done already. Any number of these may run at once: one works, the others wait for it.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; }
version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        supported "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11, 3.12 or 3.13: name one that is, or leave it out"
        command -v "$PYTHON"
        return
    fi
    for candidate in python3.13 python3.12 python3.11 python3; do
        if supported "$candidate"; then command -v "$candidate"; return; fi
    done
    fail "found no Python 3.11, 3.12 or 3.13: install one ('sudo apt-get install python3 python3-venv' on Debian 12" \
        "or Ubuntu 24.04), or name one that is not on PATH: PYTHON=/path/to/python3 make …"
}

# Debian keeps what venv needs to put pip into a new environment in a package of its own.
has_ensurepip() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
# pip 22.3 and later can install into an environment that has no pip.
has_modern_pip() { "$1" -c 'import pip, venv; assert [*map(int, pip.__version__.split(".")[:2])] >= [22, 3]' 2>/dev/null; }

install_venv_package() {
    local package
    package="python$(version "$1")-venv"
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "$1 cannot make environments: run 'sudo apt-get install $package' and try again"
    fi
    say "installing Debian's $package, which $1 lacks"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -qq --no-install-recommends "$package" >/dev/null; } ||
        fail "could not install $package: install it by hand and try again"
}

exec 9>>.venv.lock
flock 9

stamp=.venv/hookd-setup
wanted="$(cat requirements.lock pyproject.toml tools/setup.sh | sha256sum | cut -c 1-64) $PWD"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    if [ -z "${PYTHON:-}" ]; then exit 0; fi
    python=$(find_python)
    if [ "$(version "$python")" = "$(version .venv/bin/python)" ]; then exit 0; fi
fi

python=$(find_python)
has_ensurepip "$python" || has_modern_pip "$python" || install_venv_package "$python"
say "installing hookd's requirements into .venv (Python $(version "$python"), once; about a minute)"
rm -rf .venv
if has_ensurepip "$python"; then
    "$python" -m venv .venv
    pip=(.venv/bin/python -m pip)
else
    "$python" -m venv --without-pip .venv
    pip=("$python" -m pip --python .venv/bin/python)
fi

quietly=(--quiet --quiet --no-input --progress-bar off --disable-pip-version-check)
"${pip[@]}" install "${quietly[@]}" --require-hashes --requirement requirements.lock ||
    fail "the requirements could not be installed (above): see that a package index can be reached, and try again"
"${pip[@]}" install "${quietly[@]}" --no-index --no-deps --no-build-isolation --editable . ||
    fail "hookd itself could not be installed (above)"
echo "$wanted" > "$stamp"
say "done"
