// Which websites may open a WebSocket connection (RFC 6455 section 10.2): the user's browser sends cookies along with a
// request of any website, and only the Origin field tells which one it is. Other programs send none, or what they like.
// Pure; used on the loop thread by ServerHandshake.

public enum OriginPolicy: Equatable, Sendable {
    /// Websites with the host and the port that the request is for, by http or https.
    case sameHost
    /// These, as a browser writes them: `https://example.com`, `http://localhost:3000`, `null`.
    case list([String])
    case any

    /// - Parameters:
    ///   - origin: nil without the field, which is always allowed.
    ///   - host: what the request is for.
    func allows(_ origin: String?, for host: Authority?) -> Bool {
        guard let origin else { return true }
        switch self {
        case .any: return true
        case .list(let origins): return origins.contains { isEqual($0, origin, ignoringCase: true) }
        case .sameHost: return Self.isSame(origin, host)
        }
    }

    /// Whether a browser may send this text as an origin (RFC 6454 section 6.1).
    public static func isOrigin(_ text: String) -> Bool {
        if text == "null" { return true }
        let reference = URIReference(text[...])
        let authority = reference.authority.flatMap { try? Authority($0) }
        return reference.scheme != nil && authority != nil && authority?.user == nil && reference.path.isEmpty
            && reference.query == nil
    }

    private static func isSame(_ origin: String, _ host: Authority?) -> Bool {
        let reference = URIReference(origin[...])
        // A proxy may have removed TLS, so the scheme of the request is unknown: that of the website counts.
        let defaultPorts = ["http": 80, "https": 443]
        guard let host, let port = reference.scheme.flatMap({ defaultPorts[$0.lowercased()] }),
            let authority = reference.authority.flatMap({ try? Authority($0) })
        else { return false }
        return authority.host == host.host && (authority.port ?? port) == (host.port ?? port)
    }
}
