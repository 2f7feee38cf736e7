#!/bin/sh
# Writes requirements.lock anew, the newest versions that pyproject.toml allows, for every Python it supports; and
# requirements-contract.lock and requirements-docs.lock, the tools of `make contract` and `make docs`.
# Needs `uv` on PATH (`pip install uv`). Looks at no machine-wide pip configuration, and leaves no index address.
set -eu
cd "$(dirname "$0")/.."

command -v uv >/dev/null || { echo "tools/lock.sh: uv is missing: run 'pip install uv' and try again" >&2; exit 1; }

new=$(mktemp)
trap 'rm -f "$new"' EXIT

# lock SOURCE TARGET [OPTION…]
lock() {
    source=$1
    target=$2
    shift 2
    env -u UV_FIND_LINKS -u UV_INDEX -u UV_EXTRA_INDEX_URL \
        uv pip compile --quiet --universal --generate-hashes --upgrade --allow-unsafe \
        --no-header --no-emit-index-url --no-emit-find-links "$@" "$source" --output-file "$new"

    # Every line carries the one environment that [tool.uv] in pyproject.toml names: said once, here, it reads better.
    {
        echo "# For CPython 3.11 to 3.13 on Linux. Written by tools/lock.sh; do not edit."
        sed -E -e "s/python_full_version < '3\.14' and //" \
               -e "s/ (;|and) platform_python_implementation == 'CPython' and sys_platform == 'linux'//" "$new"
    } > "$target"

    # A lock that names where it was made would not install elsewhere.
    if grep -nE '://|--find-links|--index| @ |file:' "$target"; then
        echo "tools/lock.sh: $target names an address (above): build it without local packages" >&2
        exit 1
    fi
}

lock pyproject.toml requirements.lock --all-extras
lock tests/contract/requirements.in requirements-contract.lock --python-version 3.11
lock tests/contract/toolchains.in tests/contract/toolchains.lock --python-version 3.11
lock docs/requirements.in requirements-docs.lock --python-version 3.11
