//! JSON texts in, an answer out for each: what `canonicalize`, `sign` and `verify` share.

use std::{
    error::Error,
    fmt::Display,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

/// Where the texts come from.
#[derive(clap::Args)]
pub(super) struct Texts {
    /// Take one text a line and give one line for each: "error: …" for a refused one
    #[arg(long)]
    lines: bool,
    /// The file to read; standard input if left out or -
    file: Option<PathBuf>,
}

/// The longest text, in bytes.
pub(super) const MAX_TEXT: usize = 64 << 20;

/// For the commands' help.
pub(super) const LIMIT: &str =
    "A text may have up to 64 MiB; with --lines there may be any number of them.";

/// Why there is no answer to a text.
pub(super) enum Failure {
    /// It is refused: what is wrong with it.
    Refused(String),
    /// The answer could not be written.
    Io(io::Error),
}

impl Failure {
    pub(super) fn refused(reason: impl Display) -> Self {
        Self::Refused(reason.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Texts {
    /// Has `answer` write its answer to each text, without a newline. Whether none was refused.
    ///
    /// What is answered is passed on before waiting for more input.
    ///
    /// # Errors
    /// Input that cannot be read, output that cannot be written; without `--lines`, what is wrong
    /// with the text.
    pub(super) fn answer(
        &self,
        mut answer: impl FnMut(&[u8], &mut dyn Write) -> Result<(), Failure>,
    ) -> Result<bool, Box<dyn Error>> {
        let (mut input, name) = self.open()?;
        let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        let mut text = Vec::new();
        let mut all_accepted = true;
        loop {
            if input.buffer().is_empty() {
                out.flush()?;
            }
            let read = if self.lines {
                read_line(&mut input, &mut text)
            } else {
                input
                    .by_ref()
                    .take(MAX_TEXT as u64 + 1)
                    .read_to_end(&mut text)
                    .map(|_| true)
            };
            if !read.map_err(|error| format!("cannot read {name}: {error}"))? {
                break;
            }
            let answered = if text.len() > MAX_TEXT {
                Err(Failure::refused(format_args!(
                    "the text is longer than {MAX_TEXT} bytes"
                )))
            } else {
                answer(&text, &mut out)
            };
            match answered {
                Ok(()) => {}
                Err(Failure::Io(error)) => return Err(error.into()),
                Err(Failure::Refused(reason)) if self.lines => {
                    all_accepted = false;
                    write!(out, "error: {reason}")?;
                }
                Err(Failure::Refused(reason)) => return Err(reason.into()),
            }
            out.write_all(b"\n")?;
            if !self.lines {
                break;
            }
        }
        out.flush()?;
        Ok(all_accepted)
    }

    fn open(&self) -> Result<(BufReader<Box<dyn Read>>, String), String> {
        let (input, name): (Box<dyn Read>, _) = match &self.file {
            Some(path) if path != Path::new("-") => {
                let name = path.display().to_string();
                let file =
                    File::open(path).map_err(|error| format!("cannot read {name}: {error}"))?;
                (Box::new(file), name)
            }
            _ => (Box::new(io::stdin().lock()), "standard input".to_owned()),
        };
        Ok((BufReader::with_capacity(BUFFER, input), name))
    }
}

/// Reads a line without its newline; of one that is longer than [`MAX_TEXT`], one byte more than
/// that. `false` at the end of the input.
pub(super) fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    if input
        .by_ref()
        .take(MAX_TEXT as u64 + 1)
        .read_until(b'\n', line)?
        == 0
    {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > MAX_TEXT {
        input.skip_until(b'\n')?;
    }
    Ok(true)
}

const BUFFER: usize = 64 << 10;
