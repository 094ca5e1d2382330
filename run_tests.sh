#!/usr/bin/env bash
# Runs the linter, the formatter's check and the tests; arguments go to pytest: ./run_tests.sh tests/models -k unet
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$root/scripts/env.sh"
find_python "$root" test
cd "$root"
if [ -z "${CVF20_DATA:-}" ] && [ -d ../shared/data ]; then
    CVF20_DATA=$(cd ../shared/data && pwd)
    export CVF20_DATA
fi
"$PYTHON" -m ruff check --quiet .
"$PYTHON" -m ruff format --check --quiet .
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # a file of tests on each core, instead of several cores on small tensors
exec "$PYTHON" -m pytest -q -n auto --dist loadfile "$@"
