#!/usr/bin/env bash
# Lets systemd check the units, with this tree's hookd in place of the installed one.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v systemd-analyze >/dev/null; then
    echo "systemd units: not checked, systemd-analyze is not on this machine"
    exit 0
fi

copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT
for unit in systemd/*.service systemd/*.socket; do
    if [ -e "$unit" ]; then
        sed "s|/opt/hookd/bin/hookd|$PWD/.venv/bin/hookd|" "$unit" > "$copies/$(basename "$unit")"
    fi
done

# It exits with 0 after many a complaint, and complains about other units of the machine, too.
complaints=$(systemd-analyze verify --man=no "$copies"/* 2>&1 | grep -F hookd || true)
if [ -n "$complaints" ]; then
    echo "$complaints" >&2
    exit 1
fi
echo "systemd units: good"
