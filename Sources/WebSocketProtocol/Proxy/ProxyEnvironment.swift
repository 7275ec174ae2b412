// The proxy that the environment variables name for a URL, read as curl reads them. Hosts on this machine need none.
// Created on Lua's thread with the options; asked on the loop thread by ConnectAttempt.

public struct ProxyEnvironment: Sendable {
    /// The variables for proxies that are set and not empty, by their names; nil: the value is not UTF-8.
    private let variables: [String: String?]
    /// The hosts that need no proxy.
    private let exempt: String?

    /// - Parameter variable: the bytes of an environment variable.
    public init(_ variable: (String) -> [UInt8]?) {
        func value(_ name: String) -> [UInt8]? { variable(name).flatMap { $0.isEmpty ? nil : $0 } }
        var variables: [String: String?] = [:]
        for name in Self.names(isSecure: false) + Self.names(isSecure: true) {
            if let bytes = value(name) { variables[name] = .some(String(validating: bytes, as: UTF8.self)) }
        }
        self.variables = variables
        exempt = (value("no_proxy") ?? value("NO_PROXY")).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Names of the variables for a scheme; the first one that is set counts.
    private static func names(isSecure: Bool) -> [String] {
        // Not HTTP_PROXY: in a CGI program that is the value of the request's field Proxy.
        (isSecure ? ["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY"] : ["ws_proxy", "WS_PROXY", "http_proxy"])
            + ["all_proxy", "ALL_PROXY"]
    }

    /// The proxy for a URL; nil when the host is reached without one.
    public func proxy(for url: WebSocketURL) throws(Proxy.Failure) -> Proxy? {
        guard !isExempt(url) else { return nil }
        for name in Self.names(isSecure: url.isSecure) {
            guard let value = variables[name] else { continue }
            guard let text = value else { throw Proxy.Failure(reason: "the environment's \(name) is not UTF-8") }
            do throws(Proxy.Failure) { return try Proxy(text, ofEnvironment: true) } catch {
                throw Proxy.Failure(reason: "the environment's \(name): \(error.reason)")
            }
        }
        return nil
    }

    private func isExempt(_ url: WebSocketURL) -> Bool {
        let host = withoutTrailingDot(url.host)
        // Through a proxy, localhost would be the proxy's machine.
        if isLocalhost(host) || IPAddress(asResolved: host)?.isLoopback == true { return true }
        guard let list = exempt else { return false }
        guard list != "*" else { return true }
        return list.utf8.split { ", \t".utf8.contains($0) }
            .contains { Exemption(Substring($0))?.covers(host, url.port) == true }
    }
}

/// An element of `no_proxy`.
private struct Exemption {
    private enum Hosts {
        /// This name and its subdomains.
        case domain(String)
        /// Addresses with the same first `prefix` bits (RFC 4632 section 3.1); one address if that is all bits.
        case block(IPAddress, prefix: Int)
    }

    private let hosts: Hosts
    /// nil for all ports.
    private let port: Int?

    /// nil when malformed.
    init?(_ text: Substring) {
        if let block = Self.block(text) {
            hosts = block
            port = nil
            return
        }
        // A dot before a name only says that it is a domain.
        let name = text.hasPrefix(".") ? text.dropFirst() : text
        guard let authority = try? Authority(name), authority.user == nil else { return nil }
        port = authority.port
        let host = withoutTrailingDot(authority.host)
        if name.startIndex == text.startIndex, let address = Self.block(host) {
            hosts = address
        } else {
            hosts = .domain(host)
        }
    }

    /// `address` or `address/prefix`.
    private static func block(_ text: some StringProtocol) -> Hosts? {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(parts[0]) else { return nil }
        let bits = address.bytes.count * 8
        guard parts.count == 2 else { return .block(address, prefix: bits) }
        guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let prefix = Int(parts[1]), prefix <= bits
        else { return nil }
        return .block(address, prefix: prefix)
    }

    func covers(_ host: String, _ port: Int) -> Bool {
        guard self.port == nil || self.port == port else { return false }
        switch (hosts, IPAddress(host)) {
        case (.domain(let domain), nil): return host == domain || host.hasSuffix("." + domain)
        case (.block(let block, let prefix), let address?): return address.isInBlock(of: block, prefix: prefix)
        case (.domain, _?), (.block, nil): return false
        }
    }
}
