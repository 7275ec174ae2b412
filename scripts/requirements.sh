# Sourced by the scripts: installs what is missing, or says what is.

# need PROGRAM-OR-FILE PACKAGE…: what is not there is remembered for install_needed.
needed=()
need() {
    local wanted=$1
    shift
    case $wanted in
    /*) [ -e "$wanted" ] || needed+=("$@") ;;
    *) command -v "$wanted" >/dev/null || needed+=("$@") ;;
    esac
}

install_needed() {
    if [ ${#needed[@]} -gt 0 ]; then
        echo "installing what is missing: ${needed[*]}"
        if ! command -v apt-get >/dev/null; then
            echo "there is no apt-get: install these (Debian's names) with the system's own means: ${needed[*]}" >&2
            exit 1
        fi
        local as_root=()
        if [ "$(id -u)" -ne 0 ]; then
            if ! command -v sudo >/dev/null; then
                echo "not root, and no sudo: run as root: apt-get install ${needed[*]}" >&2
                exit 1
            fi
            as_root=(sudo)
        fi
        "${as_root[@]}" apt-get update -qq || true
        if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${needed[@]}" >/dev/null; then
            echo "apt-get could not install: ${needed[*]}" >&2
            exit 1
        fi
        needed=()
    fi
    if ! command -v swift >/dev/null; then
        echo "Swift is missing: install Swift 6.3 or later from swift.org and put its usr/bin on the PATH" >&2
        exit 1
    fi
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
    if [ "$(printf '%s\n6.3\n' "$version" | sort -V | head -n 1)" != 6.3 ]; then
        echo "Swift $version is too old: 6.3 or later is needed" >&2
        exit 1
    fi
}

need_to_build() {
    need lua5.4 lua5.4
    need /usr/include/lua5.4/lua.h liblua5.4-dev
    need /usr/include/zlib.h zlib1g-dev
    need /usr/include/openssl/ssl.h libssl-dev
    need pkg-config pkg-config
    need cmake cmake
    need make make
    need cc gcc libc6-dev
    # Part of the module (linking/); which folder it is in, the compiler knows.
    [ -e "$(cc -print-file-name=libstdc++.a 2>/dev/null)" ] || needed+=(g++)
}

# build_module: build/websocket.so. Silent unless it fails.
build_module() {
    mkdir -p build
    if ! { cmake -B build && cmake --build build; } >build/build.log 2>&1; then
        cat build/build.log >&2
        exit 1
    fi
}

need_python() {
    # Debian's Python can make environments only with a package of its own.
    python3 -c 'import ensurepip, venv' 2>/dev/null || needed+=(python3 python3-venv)
}

# python_packages NAME…: in build/venv, from PyPI.
python_packages() {
    [ -x build/venv/bin/python ] || python3 -m venv build/venv || exit 1
    local package
    for package in "$@"; do
        build/venv/bin/python -c "import $package" 2>/dev/null ||
            build/venv/bin/python -m pip install --quiet --disable-pip-version-check "$package" || exit 1
    done
}

need_to_test() {
    need busted lua-busted
    need node nodejs
    need /usr/share/nodejs/ws/package.json node-ws
    need openssl openssl
    # Where services run, Debian starts nginx as one; the tests start their own.
    need /usr/sbin/nginx nginx-light
    need libwebsockets-test-server libwebsockets-test-server
    need tinyproxy tinyproxy
    need microsocks microsocks
    need ss iproute2
    need strace strace
    need /usr/sbin/nft nftables
    need_python
}

# prepare_to_test: what the servers of the Lua tests need.
prepare_to_test() {
    python_packages websockets
    # The tests have proxies of their own.
    unset {ws,wss,http,https,all,no}_proxy {WS,WSS,HTTP,HTTPS,ALL,NO}_PROXY
}
