#!/usr/bin/env bash
# Runs the tests with the lowest versions that pyproject.toml admits, in an environment of its own:
# scripts/lowest.sh FOLDER [pytest's arguments]. Takes about 6 GB below FOLDER; continuous integration does not run it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:?"usage: scripts/lowest.sh FOLDER [pytest's arguments]"}
shift
source "$root/scripts/env.sh"
"$(_system_python)" -m venv "$folder"
python=$folder/bin/python
"$python" - "$root/pyproject.toml" >"$folder/lowest.txt" <<'PYTHON'
import sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
print("\n".join(line.replace(">=", "==") for line in project["dependencies"] + project["optional-dependencies"]["test"]))
PYTHON
"$python" -m pip install --quiet --disable-pip-version-check --requirement "$folder/lowest.txt"
cd "$root"
exec env PYTHONPATH="$root" "$python" -P -m pytest -q "$@"
