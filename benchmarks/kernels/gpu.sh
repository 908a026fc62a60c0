#!/usr/bin/env bash
# Tests and times the kernels on a machine with a GPU.
#
#   benchmarks/kernels/gpu.sh [STEP...]        all steps: build tests kernels bench end_to_end first_token
#
# The machine has to hold the package's dependencies (torch with CUDA, Triton, transformers, pytest, hypothesis, ...);
# nothing is downloaded. Where time is short, name steps and run the script several times; `build` always runs.
#
#   build       installs the checkout into what is there, without dependencies; else puts it on the path
#   tests       the tests marked gpu of kernels and models; REQUIRE_GPU=1 makes a missing GPU a failure
#   kernels     all tests of the kernels, which take the GPU where there is one
#   bench       `framegate bench`, op by op, the op's tests first
#   end_to_end  gate and tower against the dense tower, also with flash-attn and on timm's towers where they are installed
#   first_token the default preset: refill and select at 768 frames, the first token of a 2B model's shape
#
# Variables:
#   OUT     folder for logs and results, default out/gpu: $OUT/logs/<step>.log, $OUT/results/<device>/<op>.csv
#   PACK=1  leaves one archive, $OUT/gpu.tar.gz, in place of the folders: for places that hand back few files
#   PYTHON  default python3
#   OPS     ops to time, default all
#   BENCH   more options of `framegate bench`, as --no-compile
#   FRAMEGATE_COMMIT  what rows name as the commit, where the copy of the checkout came without its history
#
# The first step that fails ends the script with its exit code; what was logged and measured until then stays.
# Copy $OUT/results to benchmarks/kernels/results, run `python benchmarks/tables.py` and commit both.
set -uo pipefail
cd "$(dirname "$0")/../.."

STEPS=${*:-tests kernels bench end_to_end first_token}
for name in $STEPS; do
    case $name in build | tests | kernels | bench | end_to_end | first_token) ;; *)
        echo "There is no step '$name'. Known: build tests kernels bench end_to_end first_token." >&2
        exit 2
        ;;
    esac
done

PYTHON=${PYTHON:-python3}
OUT=${OUT:-out/gpu}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
if [ -n "${PACK:-}" ]; then HELD=$(mktemp -d); else HELD=$OUT; fi
mkdir -p "$HELD/logs" "$HELD/results"
export PYTHONUNBUFFERED=1

pack() {  # after every step, so that a script that is killed has left what came before
    if [ -n "${PACK:-}" ]; then tar -czf "$OUT/gpu.tar.gz" -C "$HELD" .; fi
}

step() {  # NAME COMMAND...
    local name=$1 code started=$SECONDS
    shift
    echo "== $name: $*"
    "$@" 2>&1 | tee "$HELD/logs/$name.log"
    code=${PIPESTATUS[0]}
    echo "== $name: exit code $code after $((SECONDS - started)) s" | tee -a "$HELD/logs/steps.log"
    pack
    if [ "$code" -ne 0 ]; then
        echo "FAILED: $name (exit code $code); its log is logs/$name.log in $OUT${PACK:+/gpu.tar.gz}" >&2
        exit "$code"
    fi
}

build() {
    "$PYTHON" -m pip install --quiet --no-deps --no-build-isolation --editable . ||
        echo "pip could not install the checkout; src is put on the path"
}

versions() {
    "$PYTHON" -c 'import torch; print(torch.__version__, torch.version.cuda, torch.cuda.get_device_name())' &&
        "$PYTHON" -c 'import triton, transformers; print("triton", triton.__version__, "transformers", transformers.__version__)' &&
        "$PYTHON" -c 'import framegate; print("framegate", framegate.__version__, framegate.__file__)'
}

wanted() {
    case " $STEPS " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

has() { "$PYTHON" -c "import $1" 2>/dev/null; }

step build build
# the path serves where pip could not, and changes nothing where it could
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
step versions versions
# OPS and BENCH hold several words
# shellcheck disable=SC2086
{
    if wanted tests; then
        step tests env REQUIRE_GPU=1 "$PYTHON" -m pytest -m gpu tests/kernels tests/models
    fi
    if wanted kernels; then
        step kernels env REQUIRE_GPU=1 "$PYTHON" -m pytest tests/kernels --durations 10
    fi
    if wanted bench; then
        for op in ${OPS:-$("$PYTHON" -c "from framegate.tools.bench import OPS; print(*OPS)")}; do
            step "bench_$op" "$PYTHON" -c "from framegate.cli import app; app()" bench "$op" --device cuda \
                --tests tests/kernels --out "$HELD/results" ${BENCH:-}
        done
    fi
    if wanted end_to_end; then
        step end_to_end "$PYTHON" benchmarks/kernels/bench_end_to_end.py --device cuda --out "$HELD/results"
        if has flash_attn; then
            step end_to_end_flash "$PYTHON" benchmarks/kernels/bench_end_to_end.py --device cuda \
                --attention flash_attention_2 --out "$HELD/results/flash_attn"
        fi
        if has timm; then
            step grid_tower "$PYTHON" benchmarks/tower/bench_grid_tower.py --device cuda --out "$HELD/results/grid_tower.csv"
        fi
    fi
    if wanted first_token; then
        step stages "$PYTHON" benchmarks/stages/bench_stages.py --device cuda --tubes 384 --out "$HELD/results/stages.csv"
        step first_token "$PYTHON" benchmarks/answers/bench_first_token.py --wide --device cuda \
            --csv "$HELD/results/first_token.csv"
        if has flash_attn; then
            step first_token_flash "$PYTHON" benchmarks/answers/bench_first_token.py --wide --device cuda \
                --attention flash_attention_2 --csv "$HELD/results/first_token_flash.csv"
        fi
    fi
}
echo "All steps passed: $STEPS. Results and logs are in $OUT."
