# Sourced by run_all.sh and run_tests.sh.
#
# find_python ROOT [EXTRA] sets PYTHON to an interpreter that has cvf20 from the folder ROOT, with the optional
# dependencies EXTRA: the current one where cvf20 imports (conda, Colab), else ROOT/.venv, which is made on first use.
# Stamps in .venv say what it was made from; one whose making was interrupted has none and is made anew.

find_python() {
    local root=$1 extra=${2:-} candidate
    for candidate in python python3; do
        if _has_cvf20 "$candidate" "$root"; then
            PYTHON=$(command -v "$candidate")
            if [ -n "$extra" ]; then "$PYTHON" -m pip install --quiet --editable "$root[$extra]"; fi
            return
        fi
    done
    _is_made "$root" "$extra" || _make_venv "$root" "$extra"
    PYTHON=$(_venv_python "$root")
}

_has_cvf20() { # does cvf20 import in interpreter $1, from folder $2, and is that not the .venv, which has its stamps?
    "$1" -P - "$2" >/dev/null 2>&1 <<'PYTHON'
import pathlib, sys, cvf20
root = pathlib.Path(sys.argv[1]).resolve()
here = pathlib.Path(cvf20.__file__).resolve().parent.parent == root
sys.exit(not here or pathlib.Path(sys.prefix).resolve() == root / ".venv")
PYTHON
}

_venv_python() {
    local python
    for python in "$1/.venv/bin/python" "$1/.venv/Scripts/python.exe"; do
        if "$python" -c '' 2>/dev/null; then echo "$python" && return; fi
    done
    return 1
}

_stamp() { printf '%s %s\n' "$(cksum <"$1/pyproject.toml")" "$1"; }

_is_made() { [ "$(cat "$1/.venv/made-${2:-base}" 2>/dev/null)" = "$(_stamp "$1")" ] && _venv_python "$1" >/dev/null; }

_make_venv() (
    set -e
    root=$1 extra=$2
    if command -v flock >/dev/null; then # of two first runs at the same time the second waits, then finds it made
        exec 9>"$root/.venv.lock" && flock 9
        if _is_made "$root" "$extra"; then exit 0; fi
    fi
    if ! grep -qsF " $root" "$root"/.venv/made-* || ! _venv_python "$root" >/dev/null; then
        echo "making .venv with PyTorch and what else is needed: about 6 GB, a few minutes, once" >&2
        base=$(_system_python)
        rm -rf "$root/.venv"
        "$base" -m venv "$root/.venv"
    fi
    rm -f "$root"/.venv/made-*
    "$(_venv_python "$root")" -m pip install --quiet --quiet --disable-pip-version-check --editable "$root${extra:+[$extra]}"
    _stamp "$root" | tee "$root/.venv/made-base" >"$root/.venv/made-${extra:-base}"
)

_system_python() {
    local candidate
    for candidate in python3 python python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "no Python 3.11 or newer with venv and pip was found: install one (python.org, conda, or the system's python3-venv)" >&2
    return 1
}
