#!/usr/bin/env bash
# Installs what the documentation needs and builds it into site/; a warning is an error.
set -euo pipefail
source "$(dirname "$0")/environment.sh" dev
NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict "$@"
echo "Open site/index.html, or see it as you write: mkdocs serve"
