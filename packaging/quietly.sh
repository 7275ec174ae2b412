# Sourced by scripts/release and packaging/try, after scripts/requirements.sh.
# shellcheck shell=bash disable=SC2154 # Both scripts set `log`.

# quietly WORDS COMMAND…: runs a command with its output in the log. Prints the end of the log, and ends the script, if it
# fails.
quietly() {
    with_progress "$1" "$log" "${@:2}" || {
        tail -n 40 "$log" >&2
        echo "failed: ${*:2}" >&2
        exit 1
    }
}
