//! `tcp://HOST:PORT`: where to bind or connect.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    str::FromStr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// A TCP endpoint. The host is a name, an IPv4 address, an IPv6 address (in brackets when written),
/// or `*`: every address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Whether a connection can be made to it: not to `*` or port 0.
    pub(crate) fn is_somewhere(&self) -> bool {
        self.host != "*" && self.port != 0
    }

    /// Binds it. `*` is every address, of IPv6 too where the machine has that.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        match self.host.as_str() {
            "*" => TcpListener::bind((Ipv6Addr::UNSPECIFIED, self.port))
                .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port))),
            host => TcpListener::bind((host, self.port)),
        }
    }

    /// Connects to it: to the first of the name's addresses that takes the connection, within
    /// `patience` (of which there may be any).
    ///
    /// # Errors
    /// Those of the last address.
    pub(crate) fn connect(&self, patience: Duration) -> io::Result<TcpStream> {
        let patience = patience.min(ATTEMPTS);
        let end = Instant::now() + patience;
        let mut result = Err(io::Error::new(
            ErrorKind::NotFound,
            "the name has no address",
        ));
        for address in self.resolve(patience)? {
            let left = end.saturating_duration_since(Instant::now());
            // None at all is an invalid argument.
            let left = left.clamp(Duration::from_millis(1), ATTEMPT);
            result = TcpStream::connect_timeout(&address, left);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn resolve(&self, patience: Duration) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        // The system's resolver has time limits of its own, of half a minute and more.
        let (sender, resolved) = mpsc::channel();
        let Self { host, port } = self.clone();
        thread::Builder::new().spawn(move || {
            let addresses = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
            // Nobody is left to hear of it where it took too long.
            let _ = sender.send(addresses);
        })?;
        resolved.recv_timeout(patience).unwrap_or_else(|_| {
            let why = "the name's address was not found in time";
            Err(io::Error::new(ErrorKind::TimedOut, why))
        })
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why| format!("endpoint '{text}': {why}");
        let rest = text.strip_prefix("tcp://").ok_or("not tcp://HOST:PORT");
        let parts = rest.and_then(|rest| rest.rsplit_once(':').ok_or("the port is missing"));
        let (host, port) = parts.map_err(refused)?;
        let port = port
            .parse()
            .map_err(|_| refused("the port is not a number from 0 to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']'));
        match bare.unwrap_or(host) {
            "" => Err(refused("the host is missing")),
            host if bare.is_some() && host.parse::<Ipv6Addr>().is_err() => {
                Err(refused("no IPv6 address in the brackets"))
            }
            host if bare.is_none() && host.contains([':', '[', ']']) => Err(refused(
                "an IPv6 address is written in brackets: tcp://[::1]:9940",
            )),
            host => Ok(Self {
                host: host.to_owned(),
                port,
            }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// The longest attempt to connect to one of a name's addresses.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The longest attempt to connect to all of them, the name's resolution included.
const ATTEMPTS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_and_written_as_fedmsg_writes_it() {
        for text in [
            "tcp://127.0.0.1:9940",
            "tcp://*:0",
            "tcp://[::1]:9940",
            "tcp://relay.example.org:2001",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("", "not tcp://HOST:PORT"),
            ("127.0.0.1:9940", "not tcp://HOST:PORT"),
            ("ipc:///run/bus", "not tcp://HOST:PORT"),
            ("tcp://host", "the port is missing"),
            ("tcp://:1", "the host is missing"),
            ("tcp://host:", "the port is not a number from 0 to 65535"),
            (
                "tcp://host:65536",
                "the port is not a number from 0 to 65535",
            ),
            (
                "tcp://::1:9940",
                "an IPv6 address is written in brackets: tcp://[::1]:9940",
            ),
            (
                "tcp://[::1:9940",
                "an IPv6 address is written in brackets: tcp://[::1]:9940",
            ),
            ("tcp://[host]:1", "no IPv6 address in the brackets"),
            ("tcp://[]:1", "the host is missing"),
        ] {
            let error = format!("endpoint '{text}': {why}");
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }
}
