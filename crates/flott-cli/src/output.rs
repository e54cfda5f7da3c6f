//! Standard output without panics: a reader that has gone ends the process quietly, as other tools do.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Exit code of a process whose output nobody reads any more: that of SIGPIPE.
const NOBODY_READS: i32 = 141;

/// Prints a line.
pub fn line(text: impl Display) {
    self::text(format_args!("{text}\n"));
}

/// Prints a text as it is.
pub fn text(text: impl Display) {
    let mut out = io::stdout().lock();
    if let Err(error) = write!(out, "{text}").and_then(|()| out.flush()) {
        end_unread(&error);
        tracing::error!(%error, "standard output cannot be written");
    }
}

/// Ends the process if a failure to write says that nobody reads any more.
pub fn end_unread(error: &io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(NOBODY_READS);
    }
}
