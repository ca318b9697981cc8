//! gpg-agent's protocol (Assuan), as far as a signature needs it, over a connection that is kept
//! open.
//!
//! The agent is told never to ask anybody for a passphrase over this connection: a `gpg` process
//! does that better. Sources: the Assuan manual; gpg-agent's `HELP SIGKEY`, `HELP SETHASH`,
//! `HELP PKSIGN`; RFC 9804 for the canonical S-expression that is its answer.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// A connection to gpg-agent.
pub(super) struct Agent {
    stream: BufReader<UnixStream>,
}

impl Agent {
    /// Connects to the agent; each answer may take as long as `limit`.
    pub(super) fn connect(socket: &Path, limit: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        let mut agent = Self {
            stream: BufReader::new(stream),
        };
        agent.answer()?;
        agent.ask("OPTION pinentry-mode=error\n")?;
        Ok(agent)
    }

    /// Signs a digest with the key of this keygrip, `hash` being the digest's number in OpenPGP,
    /// which is libgcrypt's too; gives the numbers that the signature consists of, big-endian. After
    /// an error, the connection is of no more use.
    pub(super) fn sign(&mut self, grip: &str, hash: u8, digest: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut line = format!("SETHASH {hash} ");
        for byte in digest {
            let _ = write!(line, "{byte:02X}");
        }
        line.push('\n');
        self.ask(&format!("SIGKEY {grip}\n"))?;
        self.ask(&line)?;
        let answer = self.ask("PKSIGN\n")?;
        numbers(&answer).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    fn ask(&mut self, line: &str) -> io::Result<Vec<u8>> {
        self.stream.get_mut().write_all(line.as_bytes())?;
        self.answer()
    }

    /// The data lines up to the final one.
    fn answer(&mut self) -> io::Result<Vec<u8>> {
        let (mut data, mut line) = (Vec::new(), Vec::new());
        for _ in 0..MAX_LINES {
            line.clear();
            (&mut self.stream)
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)?;
            match line.strip_suffix(b"\n") {
                None => return Err(ErrorKind::UnexpectedEof.into()),
                Some(b"OK") => return Ok(data),
                Some(line) if line.starts_with(b"OK ") => return Ok(data),
                Some([b'D', b' ', escaped @ ..]) => unescape(escaped, &mut data),
                // Status and comments.
                Some([b'S', b' ', ..] | [b'#', ..]) => {}
                // A refusal, or a question.
                Some(line) => return Err(io::Error::other(String::from_utf8_lossy(line))),
            }
        }
        Err(ErrorKind::InvalidData.into())
    }
}

/// Undoes `%25`, `%0A` and `%0D`.
fn unescape(mut escaped: &[u8], data: &mut Vec<u8>) {
    while let [first, rest @ ..] = escaped {
        let (byte, rest) = match rest {
            [b'2', b'5', rest @ ..] if *first == b'%' => (b'%', rest),
            [b'0', b'A', rest @ ..] if *first == b'%' => (b'\n', rest),
            [b'0', b'D', rest @ ..] if *first == b'%' => (b'\r', rest),
            rest => (*first, rest),
        };
        data.push(byte);
        escaped = rest;
    }
}

/// The values in `(7:sig-val(5:ecdsa(1:r32:…)(1:s32:…)))`: of each list that is a name and a value.
fn numbers(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    // Since the last list began.
    let mut atoms: Vec<&[u8]> = Vec::new();
    loop {
        match rest {
            [] => return Some(found),
            [b'(', after @ ..] => {
                atoms.clear();
                rest = after;
            }
            [b')', after @ ..] => {
                if let [_, value] = *atoms {
                    found.push(value.to_vec());
                }
                atoms.clear();
                rest = after;
            }
            _ => {
                let colon = rest.iter().position(|&byte| byte == b':')?;
                let (len, after) = rest.split_at_checked(colon)?;
                let len = str::from_utf8(len).ok()?.parse().ok()?;
                let (atom, after) = after.get(1..)?.split_at_checked(len)?;
                atoms.push(atom);
                rest = after;
            }
        }
    }
}

/// Assuan's longest line has 1,000 bytes and its end.
const MAX_LINE: u64 = 1002;

/// A signature comes in some three lines.
const MAX_LINES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_signature_are_found() {
        for (text, expected) in [
            ("(7:sig-val(3:rsa(1:s3:a)()))", Some(vec!["a)("])),
            (
                "(7:sig-val(5:ecdsa(1:r1:a)(1:s2:bc)))",
                Some(vec!["a", "bc"]),
            ),
            ("(7:sig-val)", Some(vec![])),
            ("", Some(vec![])),
            ("(1:s9:abc)", None),
            ("(1:sx:abc)", None),
            ("(1:s99999999999999999999:abc)", None),
            ("garbage", None),
        ] {
            let numbers = numbers(text.as_bytes());
            let expected =
                expected.map(|all| all.into_iter().map(|one| one.as_bytes().to_vec()).collect());
            assert_eq!(numbers, expected, "{text}");
        }
    }

    #[test]
    fn data_lines_are_unescaped() {
        let mut data = Vec::new();
        unescape(b"a%25%0A%0D%%2525%4", &mut data);
        assert_eq!(data, b"a%\n\r%%25%4");
    }

    #[test]
    fn an_agent_that_refuses_asks_or_babbles_is_an_error() {
        for (said, good) in [
            ("OK Pleased to meet you\nOK\n", true),
            ("S PROGRESS\n# comment\nOK\nOK\n", true),
            ("OK\nERR 67108949 No pinentry <GPG Agent>\n", false),
            ("OK\nINQUIRE PINENTRY_LAUNCHED\n", false),
            ("OK\n", false),
            (&"S x\n".repeat(1000), false),
            (&"x".repeat(5000), false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("S");
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            let said = said.to_owned();
            let agent = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // It may hang up on what it does not like.
                let _ = stream.write_all(said.as_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            });
            let connected = Agent::connect(&path, Duration::from_secs(30)).is_ok();
            assert_eq!(connected, good);
            agent.join().unwrap();
        }
    }
}
