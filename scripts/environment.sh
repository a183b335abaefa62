# Sourced by the other scripts: a virtual environment in .venv with this checkout installed.
# Takes the extra to install, if any, and nothing but bash, Python 3.11 or later and git.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
extra="${1:-}"

if [ ! -x .venv/bin/python ]; then
    python=$(command -v python3.12 || command -v python3.11 || command -v python3 || true)
    if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "error: kebyt5 needs Python 3.11 or later; install it and run this again" >&2
        exit 2
    fi
    "$python" -m venv .venv
fi
# Installed once for each version of pyproject.toml and each extra.
stamp=".venv/installed-${extra:-core}"
if ! cmp -s pyproject.toml "$stamp"; then
    echo "Installing kebyt5 into .venv (PyTorch and Transformers, a few minutes)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}"
    cp pyproject.toml "$stamp"
fi
export PATH="$PWD/.venv/bin:$PATH"
export HF_HUB_OFFLINE=1
