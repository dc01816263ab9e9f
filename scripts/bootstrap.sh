# Sourced by scripts/run and scripts/test (POSIX sh): a Python, a .venv and a torch that fits this machine.
# Idempotent: what was installed is remembered as a hash in .venv, and a second call does not start pip.
#
#   PYTHON        the interpreter to use instead of searching for one (3.11 or newer)
#   SVD_UI_TORCH  cpu, cuda or cu126, instead of asking nvidia-smi
#
# shellcheck shell=sh

VENV=.venv
TORCH_INDEX=https://download.pytorch.org/whl

say() { printf '%s\n' "svd-ui: $*" >&2; }
fail() { say "$*"; exit 1; }

# A name may exist and still not run (a version manager's shim), so each is tried.
is_python() { "$1" -c "import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < ($2)))" >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_python "$PYTHON" "4, 0" || fail "PYTHON=$PYTHON is not a Python 3.11 or newer."
        return
    fi
    for PYTHON in python3 python3.13 python3.12 python3.11 python; do
        is_python "$PYTHON" "3, 14" && return
    done
    for PYTHON in python3 python3.14; do
        is_python "$PYTHON" "4, 0" && return
    done
    case "$(uname -s)" in
        Darwin) fail "No Python 3.11 or newer found. Install one: 'brew install python@3.12' or python.org." ;;
        *) fail "No Python 3.11 or newer found. Install one: 'sudo apt install python3 python3-venv'." ;;
    esac
}

make_venv() {
    if [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    find_python
    if ! "$PYTHON" -c "import venv, ensurepip" >/dev/null 2>&1; then
        version=$("$PYTHON" -c "import sys; print('%d.%d' % sys.version_info[:2])")
        fail "$PYTHON cannot make virtual environments. Install the missing package:
    sudo apt install python$version-venv      (or: sudo apt install python3-venv)
then run this command again."
    fi
    say "making $VENV with $("$PYTHON" --version)"
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV" || fail "$VENV could not be made."
}

# What the pinned torch is published for: PyPI's build brings CUDA 13.0, which takes NVIDIA's driver 580 and a card of compute
# capability 7.5 (Turing) or newer; the one with CUDA 12.6 takes driver 525, and cards from 5.0 to 9.0 (Maxwell to Hopper).
# svd_ui/catalog/cuda_builds.py has the same rows.
cuda_choice() {
    driver=
    for fields in driver_version,compute_cap driver_version; do  # drivers before 510 do not tell the latter
        cards=$(nvidia-smi --query-gpu="$fields" --format=csv,noheader 2>/dev/null) || continue
        driver=$(printf '%s\n' "$cards" | sed -n '1s/^ *\([0-9][0-9]*\)\..*/\1/p')
        [ -n "$driver" ] && break
    done
    # 8.6 becomes 806: a card's capability as a number, the oldest and the newest of those here.
    oldest= newest=
    for capability in $(printf '%s\n' "$cards" | sed -n 's/^[^,]*, *\([0-9][0-9]*\)\.\([0-9]\) *$/\10\2/p'); do
        [ "${oldest:=$capability}" -le "$capability" ] || oldest=$capability
        [ "${newest:=$capability}" -ge "$capability" ] || newest=$capability
    done
    if [ -z "$driver" ]; then
        echo cuda
    elif [ "$driver" -lt 525 ]; then
        say "NVIDIA's driver $driver is older than any CUDA build of this torch takes: installing the CPU build. Update the driver to 580 or newer and run this again."
        echo cpu
    elif [ "${newest:-705}" -gt 900 ]; then  # no build but the first has code for it, and it is worth more than an old card beside it
        [ "$driver" -ge 580 ] || say "This card needs NVIDIA's driver 580 or newer, $driver is installed: update it, or clips are made on the CPU."
        echo cuda
    elif [ "$driver" -ge 580 ] && [ "${oldest:-705}" -ge 705 ]; then
        echo cuda
    elif [ "${newest:-705}" -lt 500 ]; then
        say "No CUDA build of this torch runs on a card as old as this one: installing the CPU build."
        echo cpu
    else
        echo cu126
    fi
}

# An NVIDIA driver decides which CUDA build fits, where one answers; mac: the one wheel there is; else cpu.
torch_choice() {
    if [ -n "${SVD_UI_TORCH:-}" ]; then
        echo "$SVD_UI_TORCH"
    elif [ "$(uname -s)" = Darwin ]; then
        echo mac
    elif command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then
        cuda_choice
    else
        echo cpu
    fi
}

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }

# The CPU build is a tenth of the size of PyPI's, the one for older cards is elsewhere. Their names end in +cpu and +cu126, so
# asking for exactly that tells at once whether an index has it: first whatever pip is configured with, then PyTorch's own.
install_torch_build() {
    pin=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' requirements.txt)
    case $1 in
        cpu) fits="m.version('torch').split('+')[0] == '$pin'" ;;  # any build runs there
        *) fits="m.version('torch') == '$pin+$1'" ;;
    esac
    if "$VENV/bin/python" -c "import importlib.metadata as m; assert $fits" 2>/dev/null; then
        return
    fi
    say "installing torch $pin, build $1"
    pip install --quiet --no-deps --retries 1 --timeout 10 "torch==$pin+$1" 2>/dev/null && return
    if [ "$1" = cpu ]; then
        pip install --no-deps --retries 1 --timeout 10 --index-url "$TORCH_INDEX/cpu" "torch==$pin+cpu" && return
        say "the CPU build of torch cannot be reached; taking PyPI's, which is several GB"
    else  # with what it needs: the libraries of its CUDA are other ones than PyPI's torch asks for
        pip install --index-url "$TORCH_INDEX/$1" "torch==$pin+$1" || fail "the build of torch for this card, $1, cannot be reached; see above. Run this command again to resume."
    fi
}

# pip takes any build of the version for installed: one that was right before the driver came, or was updated, goes first.
remove_other_torch() {
    case $("$VENV/bin/python" -c "import importlib.metadata as m; print(m.version('torch'))" 2>/dev/null) in
        *+cpu | *+cu12*) pip uninstall --quiet --yes torch ;;
    esac
}

# install TORCH FILE...: everything the files list, as this machine needs it.
install() {
    choice=$1
    shift
    mark=$(cat "$@" scripts/bootstrap.sh | cksum | tr ' ' -)-$choice
    stamp=$VENV/.installed-$(basename "$1" .txt)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$mark" ]; then
        return
    fi
    say "installing what $* lists; this takes some minutes the first time"
    wanted=$VENV/wanted.txt
    if [ "$choice" = cuda ]; then
        cat "$@" >"$wanted"
    else
        # xformers works on CUDA only, and is built for the CUDA of PyPI's torch.
        cat "$@" | grep -v '^xformers' >"$wanted"
    fi
    case $choice in
        cuda) remove_other_torch ;;
        cpu | cu*) install_torch_build "$choice" ;;
    esac
    pip install --quiet -r "$wanted" || fail "pip could not install everything; see above. Run this command again to resume."
    printf '%s\n' "$mark" >"$stamp"
}
