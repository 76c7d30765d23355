#!/bin/sh
# Make sure that a Chromium is here for the browser tests. Skips if there is one; else installs the distribution's package.
set -eu

for browser in chromium chromium-browser google-chrome; do
    if command -v "$browser" >/dev/null 2>&1; then
        exit 0
    fi
done

if ! command -v apt-get >/dev/null 2>&1; then
    echo "segue: no Chromium found, and no apt-get to install it with. Install Chromium by hand and run this again." >&2
    exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "segue: no Chromium found. Install it as root: apt-get update && apt-get install chromium" >&2
        exit 1
    }
    as_root="sudo --non-interactive"
fi

export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update --quiet
$as_root apt-get install --quiet --yes --no-install-recommends chromium fonts-liberation
