//! Endpoint addresses, as fedmsg's configuration writes them: `tcp://host:port`, `ipc://path`.

use std::{fmt, path::PathBuf, str::FromStr};

/// The longest path of a Unix socket, in bytes (`sun_path` less its final NUL).
const MAX_PATH: usize = 107;

/// Where to bind or connect.
///
/// - `tcp://host:port`: `host` is a name, an IPv4 address, an IPv6 address in brackets, or `*`
///   (bind only: every address of this machine). Port 0 binds any free port.
/// - `ipc://path`: a Unix socket at `path` (at most 107 bytes), as libzmq's. Binding takes over the
///   file of a socket that nobody listens on any more.
///
/// ```
/// use fedmsg::transport::Endpoint;
/// let endpoint: Endpoint = "tcp://[::1]:9940".parse()?;
/// assert_eq!(endpoint, Endpoint::tcp("::1", 9940));
/// assert_eq!(endpoint.to_string(), "tcp://[::1]:9940");
/// let endpoint: Endpoint = "ipc:///run/bus".parse()?;
/// assert_eq!(endpoint, Endpoint::ipc("/run/bus"));
/// assert!("udp://127.0.0.1:9940".parse::<Endpoint>().is_err());
/// # Ok::<(), fedmsg::transport::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `tcp://host:port`
    Tcp {
        /// The host, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `ipc://path`
    Ipc(PathBuf),
}

impl Endpoint {
    /// A TCP endpoint; `host` without brackets.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp {
            host: host.into(),
            port,
        }
    }

    /// A Unix socket.
    pub fn ipc(path: impl Into<PathBuf>) -> Self {
        Self::Ipc(path.into())
    }

    /// Why nobody can ever connect there.
    pub(super) fn connect_error(&self) -> Option<&'static str> {
        match self {
            Self::Tcp { host, port } => {
                (host == "*" || *port == 0).then_some("only a bind may have * or port 0")
            }
            Self::Ipc(path) => path_error(path.as_os_str().as_encoded_bytes()),
        }
    }

    /// The port of a TCP endpoint.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Ipc(_) => None,
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse(text).map_err(|what| EndpointError {
            endpoint: text.to_owned(),
            what,
        })
    }
}

fn parse(text: &str) -> Result<Endpoint, &'static str> {
    if let Some(path) = text.strip_prefix("ipc://") {
        return match path_error(path.as_bytes()) {
            Some(what) => Err(what),
            None => Ok(Endpoint::ipc(path)),
        };
    }
    let rest = text
        .strip_prefix("tcp://")
        .ok_or("neither tcp://host:port nor ipc://path")?;
    let (host, port) = rest
        .rsplit_once(':')
        .ok_or("the port is missing: tcp://host:port")?;
    let port = port
        .parse()
        .map_err(|_| "the port is not a number from 0 to 65535")?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6
            .strip_suffix(']')
            .ok_or("the closing bracket of the IPv6 address is missing")?,
        None if host.contains(':') => {
            return Err("an IPv6 address needs brackets: tcp://[::1]:9940");
        }
        None => host,
    };
    if host.is_empty() {
        return Err("the host is missing: tcp://host:port");
    }
    Ok(Endpoint::tcp(host, port))
}

fn path_error(path: &[u8]) -> Option<&'static str> {
    match path {
        [] => Some("the path is missing: ipc://path"),
        [b'@', ..] => Some("abstract Unix sockets are not supported: ipc://path"),
        path if path.len() > MAX_PATH => Some("the path of a Unix socket has at most 107 bytes"),
        path if path.contains(&0) => Some("a path has no NUL byte"),
        _ => None,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(f, "ipc://{}", path.display()),
        }
    }
}

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError {
    endpoint: String,
    what: &'static str,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint '{}': {}", self.endpoint, self.what)
    }
}

impl std::error::Error for EndpointError {}
