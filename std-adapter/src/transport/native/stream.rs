//! Sockets of the operating system: TCP and Unix, one type for both.

use super::super::{Endpoint, Options};
use mio::{Interest, Registry, Token, event::Source, net};
use socket2::{SockRef, TcpKeepalive};
use std::{
    fmt,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
};

/// A connection.
pub(super) enum Stream {
    Tcp(net::TcpStream),
    Unix(net::UnixStream),
}

/// Where one connection goes.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Ip(SocketAddr),
    Path(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl Stream {
    /// Begins to connect.
    pub(super) fn connect(address: &Address, options: &Options) -> io::Result<Self> {
        let stream = match address {
            Address::Ip(address) => Self::Tcp(net::TcpStream::connect(*address)?),
            Address::Path(path) => Self::Unix(net::UnixStream::connect(path)?),
        };
        stream.configure(options);
        Ok(stream)
    }

    /// Best effort: a connection without these is still one.
    fn configure(&self, options: &Options) {
        let Self::Tcp(stream) = self else { return };
        // Without it a message waits for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        if let Some(keep_alive) = options.keep_alive {
            let settings = TcpKeepalive::new()
                .with_time(keep_alive.idle)
                .with_interval(keep_alive.interval)
                .with_retries(keep_alive.count);
            let _ = SockRef::from(stream).set_tcp_keepalive(&settings);
        }
    }

    /// Whether the connection is there.
    ///
    /// # Errors
    /// Why it could not be made.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        let (error, connected) = match self {
            Self::Tcp(stream) => (stream.take_error()?, stream.peer_addr().is_ok()),
            Self::Unix(stream) => (stream.take_error()?, stream.peer_addr().is_ok()),
        };
        match error {
            Some(error) => Err(error),
            None => Ok(connected),
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(pieces),
            Self::Unix(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bound socket that takes connections; the file of a Unix socket goes with it.
pub(super) struct Listener {
    socket: Bound,
    endpoint: Endpoint,
}

enum Bound {
    Tcp(net::TcpListener),
    Unix(net::UnixListener),
}

impl Listener {
    /// Binds.
    pub(super) fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => {
                let socket = bind_tcp(host, *port)?;
                let endpoint = Endpoint::tcp(host, socket.local_addr()?.port());
                let socket = Bound::Tcp(socket);
                Ok(Self { socket, endpoint })
            }
            Endpoint::Ipc(path) => Ok(Self {
                socket: Bound::Unix(bind_unix(path)?),
                endpoint: endpoint.clone(),
            }),
        }
    }

    /// Where it listens, with its real port.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next connection, with its peer's name.
    pub(super) fn accept(&self, options: &Options) -> io::Result<(Stream, String)> {
        let (stream, name) = match &self.socket {
            Bound::Tcp(socket) => {
                let (stream, address) = socket.accept()?;
                (Stream::Tcp(stream), address.to_string())
            }
            Bound::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                // The other side of a Unix socket has no address of its own.
                (Stream::Unix(stream), format!("a peer of {}", self.endpoint))
            }
        };
        stream.configure(options);
        Ok((stream, name))
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let source: &mut dyn Source = match &mut self.socket {
            Bound::Tcp(socket) => socket,
            Bound::Unix(socket) => socket,
        };
        registry.register(source, token, Interest::READABLE)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let (Bound::Unix(_), Endpoint::Ipc(path)) = (&self.socket, &self.endpoint) {
            // Somebody may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_tcp(host: &str, port: u16) -> io::Result<net::TcpListener> {
    let addresses: Vec<SocketAddr> = match host {
        // Both families where the machine has both, as libzmq with IPv6 on.
        "*" => vec![
            (Ipv6Addr::UNSPECIFIED, port).into(),
            (Ipv4Addr::UNSPECIFIED, port).into(),
        ],
        host => (host, port).to_socket_addrs()?.collect(),
    };
    let mut result = Err(io::Error::new(
        ErrorKind::NotFound,
        "the name has no address",
    ));
    for address in addresses {
        result = net::TcpListener::bind(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn bind_unix(path: &Path) -> io::Result<net::UnixListener> {
    match net::UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            net::UnixListener::bind(path)
        }
        result => result,
    }
}

/// Whether the file is a socket's on which nobody listens any more.
fn is_stale(path: &Path) -> bool {
    let socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    socket && UnixStream::connect(path).is_err_and(refused)
}
