//! Endpoint addresses: `tcp://host:port`, as fedmsg's configuration writes them.

use std::{fmt, str::FromStr};

/// Where to bind or connect: `tcp://host:port`.
///
/// `host` is a name, an IPv4 address, an IPv6 address in brackets, or `*` (bind only: every
/// address of this machine). Port 0 binds any free port.
///
/// ```
/// use fedmsg::transport::Endpoint;
/// let endpoint: Endpoint = "tcp://[::1]:9940".parse()?;
/// assert_eq!((endpoint.host(), endpoint.port()), ("::1", 9940));
/// assert_eq!(endpoint.to_string(), "tcp://[::1]:9940");
/// assert!("ipc:///run/bus".parse::<Endpoint>().is_err());
/// # Ok::<(), fedmsg::transport::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// A TCP endpoint; `host` without brackets.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let error = |what| EndpointError {
            endpoint: text.to_owned(),
            what,
        };
        let rest = text
            .strip_prefix("tcp://")
            .ok_or_else(|| error("only tcp:// endpoints are supported: tcp://host:port"))?;
        let (host, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| error("the port is missing: tcp://host:port"))?;
        let port = port
            .parse()
            .map_err(|_| error("the port is not a number from 0 to 65535"))?;
        let host = match host.strip_prefix('[') {
            Some(v6) => v6
                .strip_suffix(']')
                .ok_or_else(|| error("the closing bracket of the IPv6 address is missing"))?,
            None if host.contains(':') => {
                return Err(error("an IPv6 address needs brackets: tcp://[::1]:9940"));
            }
            None => host,
        };
        if host.is_empty() {
            return Err(error("the host is missing: tcp://host:port"));
        }
        Ok(Self::tcp(host, port))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "tcp://{}:{}", self.host, self.port)
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
