//! A GnuPG home, and its programs at work: one process for each question. Nothing of a message is
//! in an argument or a file; what a program says is read from its status lines, which are the same
//! in every language.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use fedmsg_core::crypto::Refusal;

use super::Error;

/// How long a program of GnuPG's may take, unless said otherwise: somebody may have to type a
/// passphrase.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// A home folder.
pub(super) struct Home {
    /// As `--homedir`; without, GnuPG chooses.
    given: Option<PathBuf>,
    pub(super) path: PathBuf,
    /// gpg-agent's.
    pub(super) socket: PathBuf,
    pub(super) limit: Duration,
}

/// A signature that was made.
pub(super) struct Made {
    /// In binary.
    pub(super) signature: Vec<u8>,
    /// The (sub)key's, as `gpg` writes it.
    pub(super) fingerprint: String,
}

/// A signature that is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Good {
    /// The (sub)key's fingerprint, as `gpg` writes it: hexadecimal, upper case.
    pub(super) fingerprint: String,
    /// Its primary key's.
    pub(super) primary: String,
    /// What is not as it should be with the key, although `gpg` accepts it.
    pub(super) flaw: Option<&'static str>,
}

impl Home {
    /// Asks GnuPG where things are.
    pub(super) fn open(given: Option<&Path>, limit: Duration) -> Result<Self, Error> {
        let given = given
            .map(|path| {
                std::path::absolute(path).map_err(|source| Error::Home {
                    path: path.to_owned(),
                    source,
                })
            })
            .transpose()?;
        let mut home = Self {
            given,
            path: PathBuf::new(),
            socket: PathBuf::new(),
            limit,
        };
        let mut gpgconf = home.command("gpgconf");
        gpgconf.arg("--list-dirs");
        let listed = home.run(gpgconf, None, &[])?;
        for line in listed.output.split(|&byte| byte == b'\n') {
            let mut fields = line.split(|&byte| byte == b':');
            let name = fields.next().unwrap_or_default();
            let path = unescape(fields.next().unwrap_or_default());
            match name {
                b"homedir" => home.path = path,
                b"agent-socket" => home.socket = path,
                _ => {}
            }
        }
        match fs::read_dir(&home.path) {
            Ok(_) => Ok(home),
            Err(source) => Err(Error::Home {
                path: home.path,
                source,
            }),
        }
    }

    /// Signs with a key as the user names it.
    pub(super) fn sign(&self, key: &str, message: &[&[u8]]) -> Result<Made, Error> {
        let mut gpg = self.gpg();
        gpg.args(["--no-armor", "--local-user", key, "--detach-sign"]);
        let ran = self.run(gpg, None, message)?;
        let made = ran
            .status("SIG_CREATED")
            .and_then(|fields| fields.split(' ').nth(5));
        if let Some(fingerprint) = made
            && ran.exit.success()
        {
            return Ok(Made {
                fingerprint: fingerprint.to_owned(),
                signature: ran.output,
            });
        }
        let (key, home) = (key.to_owned(), self.path.clone());
        let code = ran.failure();
        // The lower half is the reason, the upper half who gave it.
        Err(match code.map(|code| code & 0xffff) {
            Some(GPG_ERR_NO_SECKEY | GPG_ERR_NO_PUBKEY) if self.has_public_key(&key)? => {
                Error::NoSecretKey { key, home }
            }
            Some(GPG_ERR_NO_SECKEY | GPG_ERR_NO_PUBKEY | GPG_ERR_AMBIGUOUS_NAME) => {
                Error::UnknownKey { key, home }
            }
            Some(GPG_ERR_UNUSABLE_PUBKEY | GPG_ERR_UNUSABLE_SECKEY) => Error::Unusable { key },
            Some(GPG_ERR_NO_PIN_ENTRY) => Error::Locked { key },
            Some(
                GPG_ERR_BAD_PASSPHRASE
                | GPG_ERR_BAD_PIN
                | GPG_ERR_CANCELED
                | GPG_ERR_FULLY_CANCELED,
            ) => Error::Cancelled { key },
            _ => Error::Failed {
                doing: "sign",
                code,
            },
        })
    }

    /// Has `gpg` judge a signature. What it refuses is the inner error.
    pub(super) fn verify(
        &self,
        signature: &[u8],
        message: &[&[u8]],
    ) -> Result<Result<Good, Refusal>, Error> {
        let mut gpg = self.gpg();
        // A message must not make it ask a key server. The signature comes through descriptor 1.
        gpg.args(["--no-auto-key-retrieve", "--enable-special-filenames"]);
        gpg.args(["--verify", "--", "-&1", "-"]);
        let ran = self.run(gpg, Some(signature), message)?;
        Ok(judge(ran.exit.success(), &ran.lines))
    }

    /// The public key that has this (sub)key, as OpenPGP packets.
    pub(super) fn export(&self, fingerprint: &str) -> Result<Vec<u8>, Error> {
        let mut gpg = self.gpg();
        gpg.args(["--no-armor", "--export-options", "export-minimal"]);
        gpg.args(["--export", "--", fingerprint]);
        self.output(gpg, "export a key")
    }

    /// The listing of the keyring, of the private keys of one key with their keygrips.
    pub(super) fn list(&self, secret: Option<&str>) -> Result<String, Error> {
        let mut gpg = self.gpg();
        gpg.args(["--no-auto-check-trustdb", "--with-colons"]);
        match secret {
            Some(key) => gpg.args(["--with-keygrip", "--list-secret-keys", "--", key]),
            None => gpg.args(["--fast-list-mode", "--list-keys"]),
        };
        let listing = self.output(gpg, "list the keys")?;
        // User ids may be in any encoding.
        Ok(String::from_utf8_lossy(&listing).into_owned())
    }

    fn has_public_key(&self, key: &str) -> Result<bool, Error> {
        let mut gpg = self.gpg();
        gpg.args([
            "--with-colons",
            "--fast-list-mode",
            "--list-keys",
            "--",
            key,
        ]);
        Ok(self.run(gpg, None, &[])?.exit.success())
    }

    fn output(&self, command: Command, doing: &'static str) -> Result<Vec<u8>, Error> {
        let ran = self.run(command, None, &[])?;
        if ran.exit.success() {
            Ok(ran.output)
        } else {
            let code = ran.failure();
            Err(Error::Failed { doing, code })
        }
    }

    fn gpg(&self) -> Command {
        let mut gpg = self.command("gpg");
        // Descriptor 2 has the status lines, and nothing else.
        gpg.args(["--batch", "--no-tty", "--status-fd", "2"]);
        gpg.args(["--logger-file", "/dev/null"]);
        gpg
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(home) = &self.given {
            command.arg("--homedir").arg(home);
        }
        command
    }

    /// Runs a program to its end or the time limit: `input` on descriptor 0; descriptor 1 is where
    /// it writes, or where it reads `signature` from.
    fn run(
        &self,
        mut command: Command,
        signature: Option<&[u8]>,
        input: &[&[u8]],
    ) -> Result<Ran, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source| Error::Program {
            program: program.clone(),
            source,
        };
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let signature = match signature {
            Some(signature) => {
                let (reader, writer) = io::pipe().map_err(failed)?;
                command.stdout(reader);
                Some((writer, signature))
            }
            None => {
                command.stdout(Stdio::piped());
                None
            }
        };
        let mut child = command.spawn().map_err(failed)?;
        // Its ends of the pipes are the child's alone now.
        drop(command);
        let stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            scope.spawn(move || {
                // A program that has seen enough reads no further.
                if let Some((mut writer, signature)) = signature {
                    let _ = writer.write_all(signature);
                }
                if let Some(mut stdin) = stdin {
                    let _ = input.iter().try_for_each(|piece| stdin.write_all(piece));
                }
            });
            let (done, ended) = mpsc::channel();
            let output = scope.spawn(move || read(stdout));
            scope.spawn(move || {
                let _ = done.send(read(stderr));
            });
            let lines = ended.recv_timeout(self.limit);
            if lines.is_err() {
                let _ = child.kill();
            }
            let exit = child.wait().map_err(failed)?;
            let output = output.join().unwrap_or_default();
            let Ok(lines) = lines else {
                return Err(Error::TimedOut {
                    program: program.clone(),
                    limit: self.limit,
                });
            };
            Ok(Ran {
                exit,
                output,
                lines: String::from_utf8_lossy(&lines).into_owned(),
            })
        })
    }
}

/// What a program left behind.
struct Ran {
    exit: ExitStatus,
    output: Vec<u8>,
    /// Status lines.
    lines: String,
}

impl Ran {
    /// What follows the last status line's keyword.
    fn status(&self, keyword: &str) -> Option<&str> {
        statuses(&self.lines)
            .filter(|(found, _)| *found == keyword)
            .last()
            .map(|(_, rest)| rest)
    }

    /// The error code of `gpg`'s last failure.
    fn failure(&self) -> Option<u32> {
        self.status("FAILURE")?.split(' ').nth(1)?.parse().ok()
    }
}

/// Keyword and rest of each status line.
fn statuses(lines: &str) -> impl Iterator<Item = (&str, &str)> {
    lines
        .lines()
        .filter_map(|line| line.strip_prefix("[GNUPG:] "))
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
}

/// The verdict that `gpg --verify` gave: it ended with 0, and every signature that it looked at
/// was a good one over the data, by one sender.
fn judge(success: bool, lines: &str) -> Result<Good, Refusal> {
    let mut good: Option<Good> = None;
    let mut signatures = 0_usize;
    let mut refusal = Refusal::Signature;
    let mut flaw = None;
    for (keyword, rest) in statuses(lines) {
        match keyword {
            "NEWSIG" => signatures += 1,
            "NO_PUBKEY" => refusal = Refusal::UnknownKey,
            "EXPSIG" => refusal = Refusal::Expired,
            "EXPKEYSIG" => flaw = Some("has expired"),
            "REVKEYSIG" => flaw = Some("was revoked"),
            "VALIDSIG" => {
                let fields: Vec<_> = rest.split(' ').collect();
                // Of the classes, 00 and 01 are signatures over data.
                let [fingerprint, .., "00" | "01", primary] = *fields else {
                    return Err(Refusal::Signature);
                };
                signatures = signatures.saturating_sub(1);
                if good.as_ref().is_some_and(|good| good.primary != primary) {
                    // Which of them is the sender?
                    return Err(Refusal::Name);
                }
                good = Some(Good {
                    fingerprint: fingerprint.to_owned(),
                    primary: primary.to_owned(),
                    flaw: None,
                });
            }
            _ => {}
        }
    }
    match good {
        Some(good) if success && signatures == 0 => Ok(Good { flaw, ..good }),
        _ => Err(refusal),
    }
}

/// Reads to the end, or as much as there can rightly be.
fn read(from: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What does not come is missed later.
        let _ = from.take(MAX_OUTPUT).read_to_end(&mut bytes);
    }
    bytes
}

/// Undoes the `%xx` of gpgconf.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = after
            .split_at_checked(2)
            .filter(|(digits, _)| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|(digits, after)| {
                let digits = str::from_utf8(digits).ok()?;
                Some((u8::from_str_radix(digits, 16).ok()?, after))
            });
        let (byte, after) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    OsString::from_vec(bytes).into()
}

/// A keyring's listing has some 300 bytes a key.
const MAX_OUTPUT: u64 = 64 << 20;

// libgpg-error's err-codes.h.
const GPG_ERR_NO_PUBKEY: u32 = 9;
const GPG_ERR_BAD_PASSPHRASE: u32 = 11;
const GPG_ERR_NO_SECKEY: u32 = 17;
const GPG_ERR_UNUSABLE_PUBKEY: u32 = 53;
const GPG_ERR_UNUSABLE_SECKEY: u32 = 54;
const GPG_ERR_NO_PIN_ENTRY: u32 = 85;
const GPG_ERR_BAD_PIN: u32 = 87;
const GPG_ERR_CANCELED: u32 = 99;
const GPG_ERR_AMBIGUOUS_NAME: u32 = 107;
const GPG_ERR_FULLY_CANCELED: u32 = 198;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_a_good_end_and_one_sender_for_all_signatures() {
        const A: &str = "[GNUPG:] NEWSIG\n[GNUPG:] VALIDSIG SUB 2026-11-25 1 0 4 0 22 8 00 MAIN\n";
        const B: &str = "[GNUPG:] NEWSIG\n[GNUPG:] VALIDSIG BB 2026-11-25 1 0 4 0 22 8 01 BB\n";
        let name = |(success, lines): (bool, &str)| judge(success, lines).map(|good| good.primary);
        let main = || Ok("MAIN".to_owned());
        for (told, expected) in [
            ((true, A.to_owned()), main()),
            ((true, A.repeat(2)), main()),
            ((false, A.to_owned()), Err(Refusal::Signature)),
            ((true, String::new()), Err(Refusal::Signature)),
            (
                (true, format!("{A}[GNUPG:] NEWSIG\n")),
                Err(Refusal::Signature),
            ),
            ((true, format!("{A}{B}")), Err(Refusal::Name)),
            ((true, A.replace(" 00 ", " 10 ")), Err(Refusal::Signature)),
            ((true, A.replace("[", "gpg: [")), Err(Refusal::Signature)),
            (
                (false, "[GNUPG:] NO_PUBKEY 1".into()),
                Err(Refusal::UnknownKey),
            ),
            (
                (false, format!("{A}[GNUPG:] EXPSIG 1")),
                Err(Refusal::Expired),
            ),
        ] {
            assert_eq!(name((told.0, &told.1)), expected, "{told:?}");
        }
        assert_eq!(judge(true, A).unwrap().fingerprint, "SUB");
        let revoked = judge(true, &format!("[GNUPG:] REVKEYSIG 1 x\n{A}"));
        assert_eq!(revoked.unwrap().flaw, Some("was revoked"));
    }

    #[test]
    fn paths_of_gpgconf_are_unescaped() {
        for (text, path) in [
            ("/run/user/0/S.gpg-agent", "/run/user/0/S.gpg-agent"),
            ("/a%3ab%25%2", "/a:b%%2"),
            ("%zz%", "%zz%"),
            ("%+1", "%+1"),
        ] {
            assert_eq!(unescape(text.as_bytes()), Path::new(path));
        }
    }
}
