#!/usr/bin/env bash
# Everything a developer does, from any directory: bash cmake/dev.sh help
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# Debian 12 packages, by what needs them.
declare -A packages=(
    [build]="build-essential cmake ninja-build ccache mold pkg-config python3
             libboost1.81-dev libssl-dev zlib1g-dev libsimdjson-dev nlohmann-json3-dev libyaml-cpp-dev
             libfmt-dev libspdlog-dev prometheus-cpp-dev libcli11-dev libsqlite3-dev"
    [test]="libgtest-dev libgmock-dev curl wget git haproxy squid-openssl iproute2 openssl ca-certificates
            prometheus"
    [bench]="nginx-light haproxy squid-openssl tinyproxy-bin openssl strace"
    [fuzz]="clang-19 libclang-rt-19-dev llvm-19"
    [lint]="clang-19 clang-tidy-19 clang-tools-19 clang-format-14"
)

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'dev.sh: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "packages are missing and this is neither root nor has sudo: $*"
    fi
}

install_packages() {
    local missing=() package state
    for package in "$@"; do
        state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
        [[ $state == installed ]] || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null || die "no apt-get; install by hand: ${missing[*]}"
    say "installing ${#missing[@]} packages: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    # RUNLEVEL=1: packages that are servers are not started.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -q --no-install-recommends "${missing[@]}"
}

cmd_deps() {
    local purpose wanted=()
    [[ $# -gt 0 ]] || set -- build test
    for purpose in "$@"; do
        [[ -n ${packages[$purpose]:-} ]] || die "deps: one of ${!packages[*]}, not '$purpose'"
        # shellcheck disable=SC2206  # a list of words
        wanted+=(${packages[$purpose]})
    done
    install_packages "${wanted[@]}"
}

# As many compilers as there are cores, and as the memory allows (a coroutine file takes up to 1.2 GB).
jobs() {
    local cores memory
    cores=$(nproc)
    memory=$(awk '/^MemAvailable:/ { print int($2 / 1300000) }' /proc/meminfo)
    (( memory < 1 )) && memory=1
    echo $(( memory < cores ? memory : cores ))
}

# configure_and_build PRESET [cmake options...]
configure_and_build() {
    local preset=$1
    shift
    say "configuring build/$preset"
    cmake --preset "$preset" "$@"
    say "building build/$preset with $(jobs) jobs"
    cmake --build --preset "$preset" -j "$(jobs)"
}

cmd_build() {
    local preset=${1:-dev}
    case $preset in
        fuzz) cmd_deps build fuzz ;;
        release) cmd_deps build ;;
        *) cmd_deps build test ;;
    esac
    configure_and_build "$preset"
}

# print_curls CONFIG: the requests of the README for its first listener.
print_curls() {
    local address port
    address=$(awk '$1 == "address:" { gsub(/"/, "", $2); print $2; exit }' "$1")
    port=${address##*:}
    local data='{"model":"mock-gpt","messages":[{"role":"user","content":"Hello"}]}'
    local stream='{"model":"mock-gpt","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    local json="-H 'Content-Type: application/json'"
    cat >&2 <<END

Try it from another terminal in $root:

  curl -sS http://127.0.0.1:$port/v1/chat/completions $json -d '$data'

  curl -sSN http://127.0.0.1:$port/v1/chat/completions $json -d '$stream'

  curl -sS --cacert certs/ca.crt https://localhost:$port/v1/chat/completions $json -d '$data'

END
}

cmd_run() {
    cmd_deps build
    configure_and_build release
    local proxy=build/release/llm-proxy config=config/quickstart.yaml
    if [[ ! -e certs/server.crt ]]; then
        say "making a throw-away CA and a server certificate in certs/"
        "$proxy" certs init certs
    fi
    print_curls "$config"
    say "llm-proxy serves $config; Ctrl-C ends it"
    exec "$proxy" serve --config "$config" "$@"
}

# The end-to-end tests use npm packages, locked by tests/e2e/package-lock.json.
prepare_e2e() {
    local folder=tests/e2e stamp
    [[ -e $folder/package.json ]] || return 0
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        install_packages nodejs npm
    fi
    stamp=$(cat "$folder"/package*.json | sha256sum)
    if [[ -e $folder/node_modules/.stamp && $(<"$folder/node_modules/.stamp") == "$stamp" ]]; then
        return 0
    fi
    say "npm ci in $folder"
    (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts)
    echo "$stamp" >"$folder/node_modules/.stamp"
}

cmd_test() {
    cmd_deps build test
    prepare_e2e
    say "checking layers"
    python3 cmake/checks/layering.py
    configure_and_build asan
    say "running all tests"
    ctest --preset asan --output-on-failure -j "$(nproc)" "$@"
}

cmd_soak() {
    local times=${1:-5}
    [[ $times =~ ^[0-9]+$ ]] || die "soak [REPETITIONS]"
    shift || true
    cmd_deps build test
    prepare_e2e
    configure_and_build tsan
    say "running each test $times times under ThreadSanitizer"
    export LLMPROXY_E2E_RUNS=20  # of what one end-to-end test repeats by itself; bulk transfers are full size then
    ctest --preset tsan --output-on-failure --repeat "until-fail:$times" "$@"
}

cmd_bench() {
    cmd_deps build bench
    configure_and_build release -DLLMPROXY_BENCH=ON
    exec python3 tests/bench/bench.py --build build/release "$@"
}

cmd_fuzz() {
    local seconds=${1:-60} target name
    [[ $seconds =~ ^[0-9]+$ ]] || die "fuzz [SECONDS per target]"
    cmd_deps build fuzz
    configure_and_build fuzz
    local found=0
    for target in build/fuzz/tests/fuzz/fuzz_*; do
        [[ -f $target && -x $target ]] || continue
        found=1
        name=$(basename "$target")
        local seeds=tests/fuzz/corpus/${name#fuzz_} grown=build/fuzz/corpus/$name
        mkdir -p "$grown"
        [[ -d $seeds ]] || seeds=
        say "$name for $seconds s"
        # New inputs go to the first directory; a crash leaves its input beside the corpus.
        # shellcheck disable=SC2086  # $seeds may be empty
        "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
            -artifact_prefix="$grown-" "$grown" $seeds
    done
    [[ $found -eq 1 ]] || die "no fuzz targets were built"
}

cxx_files() {
    find include src tests cmake -name node_modules -prune -o \
        \( -name '*.cpp' -o -name '*.hpp' \) -print | LC_ALL=C sort
}

cmd_format() {
    install_packages clang-format-14
    cxx_files | xargs clang-format-14 -i
}

cmd_lint() {
    cmd_deps build lint
    local check failed=0
    for check in layering phases headers coroutine_lint clang_tidy; do
        python3 "cmake/checks/$check.py" --self-test
    done
    say "format"
    cxx_files | xargs clang-format-14 --dry-run -Werror || failed=1
    for check in layering phases headers coroutine_lint clang_tidy; do
        say "$check"
        python3 "cmake/checks/$check.py" || failed=1
    done
    [[ $failed -eq 0 ]] || die "lint found something"
    say "lint: ok"
}

cmd_help() {
    cat <<'END'
bash cmake/dev.sh COMMAND    (COMMAND --help shows this; bench has a page of its own)

  run                 install what is missing, build, make certificates, serve config/quickstart.yaml
  test [ctest args]   unit, integration and end-to-end tests under AddressSanitizer and UBSan
  build [PRESET]      configure and build: dev (default), release, asan, tsan, ci, fuzz
  deps [PURPOSE...]   install packages for: build, test (both by default), bench, fuzz, lint
  bench [args]        measure beside nginx, HAProxy, Squid and tinyproxy (--quick for a short run)
  fuzz [SECONDS]      run each fuzz target that long (default 60)
  soak [N]            every test N times (default 5) under ThreadSanitizer
  lint                format, layering, phase, header, coroutine and clang-tidy checks
  format              lay out the sources with clang-format
END
}

command=${1:-help}
shift || true
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    [[ $command != bench ]] || exec python3 tests/bench/bench.py --help
    command=help
fi
case $command in
    deps | build | run | test | bench | fuzz | soak | lint | format | help) "cmd_$command" "$@" ;;
    -h | --help) cmd_help ;;
    *) cmd_help >&2; die "no such command: $command" ;;
esac
