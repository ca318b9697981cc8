//! `fedmsg canonicalize`: any JSON text in canonical form.

use super::{
    EXIT_CODES, Outcome, exit_code,
    texts::{Failure, LIMIT, Texts},
};
use crate::crypto::Scratch;

/// Write JSON text in canonical form: the bytes that signatures cover
///
/// The canonical form is what Python writes without spaces and with sorted keys.
#[derive(clap::Args)]
#[command(after_help = format!("{LIMIT}\n{EXIT_CODES}"))]
pub(super) struct Args {
    #[command(flatten)]
    texts: Texts,
    /// How many arrays and objects may be inside each other; a message may have 512
    #[arg(long, value_name = "N", default_value_t = DEPTH)]
    depth: usize,
}

/// About where Python's own reader stops.
const DEPTH: usize = 1000;

pub(super) fn run(args: &Args) -> Outcome {
    let mut scratch = Scratch::default();
    let all_accepted = args.texts.answer(|text, out| {
        let canonical = scratch
            .canonicalize(text, args.depth)
            .map_err(Failure::refused)?;
        Ok(out.write_all(canonical)?)
    })?;
    Ok(exit_code(all_accepted))
}
