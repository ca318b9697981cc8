use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

/// A TCP socket that does not block.
pub(crate) struct Socket {
    stream: TcpStream,
    /// Taken from the device, and not yet by the operating system.
    unsent: Vec<u8>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            unsent: Vec::new(),
        })
    }
}

impl ErrorType for Socket {
    type Error = io::Error;
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}

impl ReadReady for Socket {
    fn read_ready(&mut self) -> io::Result<bool> {
        match self.stream.peek(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            result => result.map(|_| true),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.unsent.extend(buf);
        self.write_ready()?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_ready().map(drop)
    }
}

impl WriteReady for Socket {
    fn write_ready(&mut self) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
