# Sourced by the other scripts: a virtual environment in .venv with this checkout installed.
# Takes the extra to install, if any, and nothing but bash, Python 3.11 or later and git.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
extra="${1:-}"

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    made=
    # A name may be there and not run, or run and lack what makes environments.
    for python in python3.11 python3.12 python3.13 python3.14 python3 python; do
        "$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        "$python" -m venv --clear .venv && made=1 && break
    done
    if [ -z "$made" ]; then
        echo "error: kebyt5 needs Python 3.11 or later with venv; install it and run this again" >&2
        exit 2
    fi
fi
# Installed once for each version of what is built and each extra; each includes the core.
built=$(cat pyproject.toml hatch_build.py src/kebyt5/models/csrc/*)
stamp=".venv/installed-${extra:-core}"
if [ -z "$extra" ] && [ "$built" = "$(cat .venv/installed-dev 2>/dev/null)" ]; then
    stamp=.venv/installed-dev
fi
if [ "$built" != "$(cat "$stamp" 2>/dev/null)" ]; then
    echo "Installing kebyt5 into .venv (PyTorch and Transformers, a few minutes)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}"
    echo "$built" >"$stamp"
fi
export PATH="$PWD/.venv/bin:$PATH"
export HF_HUB_OFFLINE=1
