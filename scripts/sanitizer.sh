# Sourced by scripts/sanitize, which sets `kind` (address or thread) and `folder`: builds the module with a sanitizer,
# makes an interpreter and a compiler that load the sanitizer's runtime, runs the tests, prints the reports.

reports=$folder/reports
# Folders of the toolchain with the sanitizer's runtime and with Swift's.
tools=$(dirname "$(readlink -f "$(command -v swift)")")
runtimes=$("$tools/clang" -print-resource-dir)/lib/linux
swift_libraries=$(dirname "$tools")/lib/swift/linux
# Libraries that must be loaded before all others. The thread sanitizer has to see how Dispatch moves work between
# threads, and, through libswiftCore, the locks of `lazy` and `static` values.
case $kind in
address) preloaded=("libclang_rt.asan-$(uname -m).so") ;;
thread) preloaded=("libclang_rt.tsan-$(uname -m).so" libdispatch.so libswiftCore.so) ;;
esac

# Every process exits with 66 after a report. A too large allocation returns NULL, as malloc does.
options=exitcode=66:allocator_may_return_null=1:print_suppressions=0
options+=:external_symbolizer_path=$tools/llvm-symbolizer
# A forked child continues, as it does without a sanitizer; no process waits a second at its end for more reports.
[ "$kind" = address ] || options+=:die_after_fork=0:atexit_sleep_ms=0:history_size=4
export SWIFT_BACKTRACE=enable=no
export ASAN_OPTIONS=$options:log_path=$PWD/$reports/swift TSAN_OPTIONS=$options:log_path=$PWD/$reports/swift
export UBSAN_OPTIONS=print_stacktrace=1
# Read by Package.swift.
export WEBSOCKET_SANITIZE=$kind
swift_options=(--sanitize="$kind" -Xcc -fsanitize=undefined --scratch-path "build/swift-$kind")

build_sanitized_module() {
    with_progress "building $folder/websocket.so" "$folder/build.log" \
        swift build --configuration release --product websocket "${swift_options[@]}" ||
        { cat "$folder/build.log" >&2; exit 1; }
    cp "build/swift-$kind/release/libwebsocket.so" "$folder/websocket.so"
}

# The stock interpreter, patched to load the sanitizer first. LD_PRELOAD would also affect the processes that it starts.
# Each process has its own report file: process ids repeat in the tests' namespaces.
# A trap in Swift (SIGILL) is reported, too, by the sanitizer instead of Swift's own reporter. Not in the Swift tests, some
# of which trap on purpose; their runner fails at any other trap.
make_interpreter() {
    local i
    cp "$(readlink -f "$(command -v lua5.4)")" "$folder/lua"
    for ((i = ${#preloaded[@]} - 1; i >= 0; i--)); do patchelf --add-needed "${preloaded[i]}" "$folder/lua"; done
    patchelf --set-rpath "$runtimes:$swift_libraries" "$folder/lua"
    cat >"$folder/lua5.4" <<END
#!/bin/bash
export ASAN_OPTIONS="$options:handle_sigill=1:log_path=$PWD/$reports/lua.\$EPOCHREALTIME" TSAN_OPTIONS="\$ASAN_OPTIONS"
exec "$PWD/$folder/lua" "\$@"
END
    chmod +x "$folder/lua5.4"
}

# Compiles the C hosts of the Lua tests.
make_compiler() {
    cat >"$folder/cc" <<END
#!/bin/bash
exec "$tools/clang" -g -fsanitize=$kind -shared-libsan -Wl,--no-as-needed -L"$runtimes" -L"$swift_libraries" \\
    -Wl,-rpath,"$runtimes:$swift_libraries" $(printf -- '-l:%s ' "${preloaded[@]}") "\$@"
END
    chmod +x "$folder/cc"
}

# Prints the first report of each kind in full, then the number of processes that had it; returns 1 if there is any.
# Refused allocations are not reports.
print_reports() {
    local -A processes=()
    local report summary
    for report in "$reports"/*; do
        if ! grep -Evq '^==[0-9]+==WARNING: .*Sanitizer failed to allocate ' "$report"; then continue; fi
        summary=$(grep -E '^SUMMARY: |runtime error: ' "$report" | sort -u | swift demangle --simplified)
        summary=${summary:-no summary}
        if [ -z "${processes[$summary]:-}" ]; then
            echo "$report:"
            swift demangle --simplified <"$report"
        fi
        processes[$summary]=$((${processes[$summary]:-0} + 1))
    done
    for summary in "${!processes[@]}"; do echo "$kind, ${processes[$summary]} processes: $summary"; done
    [ ${#processes[@]} -eq 0 ]
}

# run PART: runs the tests of a part of scripts/sanitize; the specs of a part are those whose names contain it.
run() {
    case $1 in
    # XCTest, which has no tests here, leaks.
    swift) swift test "${swift_options[@]}" --disable-xctest ;;
    conformance)
        python_package kosoku "the Autobahn cases"
        local python=(env LUA_CPATH="$folder/?.so;;" build/venv/bin/python lua-tests/autobahn/run.py)
        "${python[@]}" client "$folder/lua5.4" && "${python[@]}" server "$folder/lua5.4"
        ;;
    lua) run_specs lua-tests ;;
    *) run_specs lua-tests/*"$1"*_spec.lua ;;
    esac
}

run_specs() {
    WEBSOCKET_BUILD=$folder WEBSOCKET_LUA=$folder/lua5.4 WEBSOCKET_CC=$folder/cc WEBSOCKET_SLOWNESS=3 \
        busted --lua="$folder/lua5.4" --output=plainTerminal "$@"
}
