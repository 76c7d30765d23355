#!/bin/sh
# Make the virtual environment named by $1 with the first Python >= 3.11 that works here. PYTHON=... chooses one by hand.
set -eu

target=${1:?usage: make-venv.sh DIRECTORY}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

can_make_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

fail() {
    echo "segue: $1" >&2
    exit 1
}

new_but_bare=
chosen=
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3 python}; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    is_new_enough "$candidate" || continue
    if can_make_environments "$candidate"; then
        chosen=$candidate
        break
    fi
    new_but_bare=$candidate
done

if [ -z "$chosen" ]; then
    if [ -n "$new_but_bare" ]; then
        fail "$new_but_bare cannot make virtual environments: its venv or ensurepip module is missing.
On Debian and Ubuntu install it with: apt install python3-venv (or python3.X-venv for that Python)."
    elif [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON is not a Python 3.11 or newer."
    elif command -v python3 >/dev/null 2>&1; then
        fail "Python 3.11 or newer is needed; python3 here is $(python3 -c 'import platform; print(platform.python_version())').
Install a newer one, or name it: make setup PYTHON=/path/to/python3.11"
    else
        fail "Python 3.11 or newer is needed, and no python3 was found. Install it, or name it: make setup PYTHON=/path/to/python3.11"
    fi
fi

# --clear: an environment whose own Python went away (an upgraded system) is made anew.
"$chosen" -m venv --clear "$target" || fail "$chosen -m venv $target failed; the lines above say why."
echo "segue: made $target with $("$target/bin/python" --version)"
