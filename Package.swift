// swift-tools-version: 6.2
// One product: a Lua C module. Imports point one way:
// CEvents, CUTF8, CZlib, COpenSSL -> WebSocketProtocol -> WebSocketEngine (+ CLinux) -> WebSocketLua (+ CLua).
import PackageDescription

/// Where Lua's headers are; CMake and LuaRocks pass what they found.
let luaHeaders = Context.environment["LUA_INCDIR"] ?? "/usr/include/lua5.4"

/// For scripts/sanitize: symbols stay, and Swift's runtime is the shared one, whose calls a sanitizer sees.
let isSanitized = Context.environment["WEBSOCKET_SANITIZE"] != nil

let settings: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    // The tests are debug builds, and look for overlapping accesses: at run time it is a sixth of a round trip.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
    // No hash of the compiler's input in the module: it differs with the folder, and a build anywhere gives the same bytes.
    .unsafeFlags(["-Xfrontend", "-disable-incremental-llvm-codegen"], .when(configuration: .release)),
]

let package = Package(
    name: "websocket",
    products: [
        .library(name: "websocket", type: .dynamic, targets: ["WebSocketLua"])
    ],
    targets: [
        .target(name: "CEvents"),
        .target(name: "CLinux"),
        .target(name: "CUTF8", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .target(
            name: "CLua",
            dependencies: ["CEvents", "CLinux"],
            exclude: ["waits.lua"],
            // The host interpreter provides the symbols: headers only, liblua is never linked.
            // Without a PLT, one jump less in each call of Lua. LuaJIT, and a Lua compiled as C++, raise by unwinding.
            cSettings: [
                .unsafeFlags(["-I", luaHeaders, "-fvisibility=hidden", "-fno-plt", "-fexceptions"]),
                .unsafeFlags(["-Wall", "-Wextra", "-Werror"]),
            ]
        ),
        .target(
            name: "WebSocketProtocol",
            dependencies: ["CEvents", "CUTF8", "CZlib", "COpenSSL"],
            swiftSettings: settings
        ),
        .target(
            name: "WebSocketEngine",
            dependencies: ["WebSocketProtocol", "CEvents", "CLinux", "COpenSSL"],
            swiftSettings: settings
        ),
        .target(
            name: "WebSocketLua",
            dependencies: ["WebSocketEngine", "WebSocketProtocol", "CLua"],
            swiftSettings: settings,
            linkerSettings: [
                .unsafeFlags([
                    "-use-ld=lld",
                    "-Xlinker", "--version-script=exports.map",
                    "-Xlinker", "-z", "-Xlinker", "nodelete",
                    "-Xlinker", "--gc-sections",
                    "-Xlinker", "--as-needed",
                ]),
                .unsafeFlags(isSanitized ? [] : ["-static-stdlib", "-L", "linking", "-Xlinker", "-s"]),
            ]
        ),
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(
            name: "WebSocketProtocolTests",
            dependencies: ["WebSocketProtocol", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "WebSocketEngineTests",
            dependencies: ["WebSocketEngine", "WebSocketProtocol", "COpenSSL", "TestSupport"],
            swiftSettings: settings
        ),
    ]
)
