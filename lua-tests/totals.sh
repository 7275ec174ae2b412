# Sourced by scripts/test, from the project's folder: runs busted, and counts what the tests have printed.

# run_lua VERSION SPEC…: prints the tests' results and busted's exit status.
run_lua() {
    busted --lua="$(interpreter "$1")" --output=plainTerminal "${@:2}"
    echo "exit status $?"
}

# print_totals VERSION…: prints "N passed, N failed" for build/swift-test.log and build/busted-VERSION.log, and returns 0 if
# none failed. `swift_status` is the exit status of the Swift tests. A test runner that crashed counts as a failure,
# whatever it has printed.
print_totals() {
    local version log swift_run passed failed lua_passed lua_failed lua_errors is_crashed=
    # Swift's lines: "Test run with 12 tests in 3 suites passed after 0.1 seconds."; "✘ Test name() failed after …"
    swift_run=$(sed -n 's/.*Test run with \([0-9]*\) tests\{0,1\} .*/\1/p' build/swift-test.log | tail -n 1)
    failed=$(grep -c '✘ Test [^r].* failed after' build/swift-test.log)
    passed=$((${swift_run:-0} - failed))
    [ "$swift_status" -eq 0 ] && [ -n "$swift_run" ] || is_crashed=yes
    # Busted's line: "10 successes / 0 failures / 0 errors / 0 pending : 1.5 seconds"
    local totals='^([0-9]+) success(es)? / ([0-9]+) failures? / ([0-9]+) errors? .*'
    for version in "$@"; do
        log=build/busted-$version.log
        read -r lua_passed lua_failed lua_errors <<<"$(sed -nE "s|$totals|\1 \3 \4|p" "$log" | tail -n 1)"
        passed=$((passed + ${lua_passed:-0}))
        failed=$((failed + ${lua_failed:-0} + ${lua_errors:-0}))
        [ -n "$lua_passed" ] && [ "$(tail -n 1 "$log")" = "exit status 0" ] || is_crashed=yes
    done
    [ -z "$is_crashed" ] || [ "$failed" -gt 0 ] || failed=1
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
