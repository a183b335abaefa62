#!/usr/bin/env bash
# Installs what tests need and runs them; arguments go to pytest, e.g. `-m slow` or `-k gbst`.
set -euo pipefail
source "$(dirname "$0")/environment.sh" dev
python -m pytest "$@"
