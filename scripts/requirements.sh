# Sourced by the scripts, from the project's folder: prints a script's help, installs missing packages, builds the module.

# help_from FILE [ARGUMENT…]: if the first argument is --help, prints FILE's header comment and exits.
help_from() {
    [ "${2:-}" = --help ] || [ "${2:-}" = -h ] || return 0
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"
    exit
}

# with_progress WORDS LOG COMMAND…: runs a command with its output in LOG. If that takes more than 5 s, prints the time
# and LOG's last line, again and again, to standard error. In a function as the command, `set -e` has no effect.
with_progress() {
    local words=$1 log=$2 status=0 ticker
    shift 2
    (
        pause=5 begin=$SECONDS
        # Ctrl-C does not end a background process: look whether the script is still there. The sleep must not hold the
        # script's output open after its end.
        while sleep "$pause" >/dev/null 2>&1 </dev/null && kill -0 $$ 2>/dev/null; do
            echo "$words: $((SECONDS - begin)) s, $(tail -n 1 "$log" | tail -c 100)" >&2
            pause=$((pause < 20 ? 2 * pause : 30))
        done
    ) &
    ticker=$!
    "$@" >"$log" 2>&1 || status=$?
    kill "$ticker"
    wait "$ticker" 2>/dev/null || true
    return "$status"
}

# report WORDS LOG COMMAND…: the same, and then prints LOG.
report() {
    local status=0
    with_progress "$@" || status=$?
    cat "$2"
    return "$status"
}

# need PROGRAM-OR-FILE PURPOSE PACKAGE…: if PROGRAM-OR-FILE is missing, install_needed installs the Debian packages.
needed=()
purposes=()
need() {
    case $1 in
    /*) [ -e "$1" ] && return ;;
    *) command -v "$1" >/dev/null && return ;;
    esac
    needed+=("${@:3}")
    purposes+=("${*:3}: $2")
}

# Checks Swift's version, then installs the packages that `need` has collected, after printing each with its purpose.
install_needed() {
    check_swift
    [ ${#needed[@]} -eq 0 ] || install_packages
}

check_swift() {
    if ! command -v swift >/dev/null; then
        echo "Swift is missing: install Swift 6.3 or later (https://www.swift.org/install/linux/, about 3 GB on disk)" \
            "and put its usr/bin on the PATH" >&2
        exit 1
    fi
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
    if [ "$(printf '%s\n6.3\n' "$version" | sort -V | head -n 1)" != 6.3 ]; then
        echo "Swift $version is too old: 6.3 or later is needed (https://www.swift.org/install/linux/)" >&2
        exit 1
    fi
}

install_packages() {
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    echo "these Debian packages are missing and will be installed with ${as_root[*]:+sudo }apt-get:"
    printf '  %s\n' "${purposes[@]}"
    if ! command -v apt-get >/dev/null; then
        echo "there is no apt-get: install the packages with your system's package manager" >&2
        exit 1
    fi
    if ! command -v "${as_root[@]:-true}" >/dev/null; then
        echo "not root, and no sudo: run as root: apt-get install ${needed[*]}" >&2
        exit 1
    fi
    "${as_root[@]}" apt-get update -qq || true
    mkdir -p build
    if ! with_progress "installing" build/packages.log \
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${needed[@]}"; then
        tail -n 20 build/packages.log >&2
        echo "apt-get could not install: ${needed[*]}" >&2
        exit 1
    fi
    needed=() purposes=()
}

# interpreter VERSION: prints the path of Lua 5.1, …, 5.5 or jit. For 5.5, which Debian lacks, WEBSOCKET_LUA55 is the
# prefix of an installation: its interpreter is bin/lua, its headers are in include.
interpreter() {
    case $1 in
    jit) command -v luajit ;;
    5.5) echo "$WEBSOCKET_LUA55/bin/lua" ;;
    *) command -v "lua$1" ;;
    esac
}

# need_lua VERSION: an interpreter and its headers.
need_lua() {
    case $1 in
    jit)
        need luajit "runs the tests with LuaJIT" luajit
        need /usr/include/luajit-2.1/lua.h "LuaJIT's C headers" libluajit-5.1-dev
        ;;
    5.5) ;;
    *)
        need "lua$1" "an interpreter that loads the module" "lua$1"
        need "/usr/include/lua$1/lua.h" "the C headers of Lua $1" "liblua$1-dev"
        ;;
    esac
}

need_to_build() {
    need_lua 5.4
    need /usr/include/zlib.h "zlib, for permessage-deflate" zlib1g-dev
    need /usr/include/openssl/ssl.h "OpenSSL, for TLS and SHA-1" libssl-dev
    need pkg-config "finds zlib and OpenSSL" pkg-config
    need cmake "builds the module" cmake
    need make "builds the module" make
    need cc "a C compiler and the C library's headers" gcc libc6-dev
    # Only the compiler knows the folder of this library.
    need "$(cc -print-file-name=libstdc++.a 2>/dev/null)" "the static C++ runtime, which Swift's runtime needs" g++
}

# build_module [VERSION]: builds build/websocket.so for Lua 5.4, or build/lua-VERSION/websocket.so, from the same Swift
# products. Prints the log if it fails.
build_module() {
    local folder=build options=()
    if [ -n "${1:-}" ]; then
        folder=build/lua-$1
        options=(-DLUA_VERSION="$1" -DSWIFT_BUILD_DIR="$PWD/build/swift")
        [ "$1" != 5.5 ] || options+=(-DLUA_INCDIR="$WEBSOCKET_LUA55/include")
    fi
    mkdir -p "$folder"
    if ! with_progress "building $folder/websocket.so" "$folder/build.log" run_cmake "$folder" "${options[@]}"; then
        cat "$folder/build.log" >&2
        exit 1
    fi
}

run_cmake() { cmake -B "$1" "${@:2}" && cmake --build "$1"; }

need_python() {
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        need "" "Python with venv, for build/venv" python3 python3-venv
}

# python_package NAME PURPOSE [MODULE [FOLDER]]: installs a package from PyPI into build/venv, or into another FOLDER.
# MODULE is the name that Python imports, if it differs from the package's.
python_package() {
    local folder=${4:-build/venv}
    [ -x "$folder/bin/python" ] || python3 -m venv "$folder" || exit 1
    if ! "$folder/bin/python" -c "import ${3:-$1}" 2>/dev/null; then
        echo "installing from PyPI into $folder: $1: $2"
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$1" || exit 1
    fi
}

# unpack_packages FOLDER PURPOSE PACKAGE…: unpacks Debian packages into a folder below build, for those that can't be
# installed beside others.
unpack_packages() {
    [ ! -d "$1" ] || return 0
    echo "unpacking Debian packages into $1: ${*:3}: $2"
    rm -rf "$1.new" && mkdir -p "$1.new" || exit 1
    if ! (cd "$1.new" && apt-get download -qq -o APT::Sandbox::User=root "${@:3}" && for name in *.deb; do dpkg -x "$name" . || exit 1; done); then
        echo "apt-get could not download: ${*:3}; try again after apt-get update" >&2
        exit 1
    fi
    mv "$1.new" "$1"
}

# need_lua_module NAME PURPOSE PACKAGE
need_lua_module() {
    lua5.4 -e "require '$1'" 2>/dev/null || need "" "$2" "$3"
}

# The event loops of lua-tests/event_loops.lua.
need_loops() {
    need_lua_module luv "an event loop of the tests" lua-luv
    need_lua_module cqueues "an event loop of the tests" lua-cqueues
    need_lua_module socket "select, an event loop of the tests" lua-socket
    need /usr/share/lua/5.1/copas.lua "an event loop of the tests" lua-copas
    need nvim "an editor with an event loop, for the tests" neovim
    need love "a game engine with LuaJIT, for the tests" love
}

# The hosts of examples/hosts; nginx is below.
need_hosts() {
    need /usr/sbin/haproxy "a host with Lua, for the tests (Debian may also start it as a service)" haproxy
    need mpv "a host with Lua, for the tests" mpv
    need /usr/lib/lighttpd/mod_magnet.so "a host with Lua, for the tests (Debian may also start it as a service)" \
        lighttpd lighttpd-modules-lua
}

need_to_test() {
    need busted "runs the Lua tests" lua-busted
    need luarocks "installs the module for a test" luarocks
    need objdump "shows what the module needs" binutils
    need node "runs a WebSocket server of the tests" nodejs
    need /usr/share/nodejs/ws/package.json "a WebSocket server of the tests" node-ws
    need openssl "makes certificates; a TLS server of the tests" openssl
    need /usr/sbin/nginx "a TLS server of the tests (Debian may also start it as a service)" nginx-light
    need libwebsockets-test-server "a WebSocket server of the tests" libwebsockets-test-server
    need /usr/include/libwebsockets.h "a WebSocket client of the tests" libwebsockets-dev
    need chromium "a browser, a client of the tests" chromium
    need /usr/sbin/mosquitto "an MQTT broker of the tests (Debian may also start it as a service)" mosquitto
    need /usr/sbin/nats-server "a NATS server of the tests (Debian may also start it as a service)" nats-server
    need /usr/bin/prosody "an XMPP server of the tests (Debian may also start it as a service)" prosody
    need curl "an HTTP client of the tests" curl
    need /usr/share/lua/5.1/cjson/util.lua "reads JSON in the examples" lua-cjson
    need tinyproxy "an HTTP proxy of the tests" tinyproxy
    need microsocks "a SOCKS5 proxy of the tests" microsocks
    need luarocks "checks the rockspec" luarocks
    need ss "shows the states of sockets" iproute2
    need strace "counts system calls and makes them fail" strace
    need tmux "a terminal of the tests" tmux
    need mandoc "checks the manual page of wscat" mandoc
    need /usr/sbin/nft "drops packets in the tests' networks" nftables
    need_loops
    need_hosts
    need_python
}

# Prepares the environment of the Lua tests.
prepare_to_test() {
    # A minute, or two without pip's cache, beside the other installations. Its folder is its own because it needs other
    # versions of their packages.
    (python_package crossbar "a WAMP router of the tests" crossbar build/crossbar) &
    local crossbar=$!
    python_package websockets "a WebSocket server of the tests"
    python_package python-socketio "a Socket.IO server of the tests" socketio
    python_package uvicorn "runs the Socket.IO server and the GraphQL server"
    python_package 'strawberry-graphql[asgi]' "a GraphQL server of the tests" strawberry.asgi
    python_package jupyter-server "a Jupyter server of the tests" jupyter_server
    python_package ipykernel "Python in that Jupyter server"
    # With OpenResty's LuaJIT, which Debian can't install beside the usual one. Nothing else may have installed libpcre3.
    unpack_packages build/nginx-lua "Lua in nginx, for the tests" \
        libnginx-mod-http-lua libnginx-mod-http-ndk lua-resty-core lua-resty-lrucache libluajit2-5.1-2 libpcre3
    wait "$crossbar" || echo "crossbar could not be installed: its tests are left out" >&2
    # The tests start their own proxies.
    unset {ws,wss,http,https,all,no}_proxy {WS,WSS,HTTP,HTTPS,ALL,NO}_PROXY
}
