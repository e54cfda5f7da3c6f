//! What a process can be asked about itself: its logs and its threads.
//!
//! JobManager and TaskManagers answer the same [`Question`]s, the JobManager at once ([`answer`]), a TaskManager over its connection
//! ([`crate::resources::TaskManagerGateway::ask`]). An answer is small: of a file it has a part, so that a log of any length is read
//! piece by piece ([`PIECE_BYTES`]), and nobody holds more of it.

mod logs;
mod threads;

pub use logs::{Extent, LogFile, LogName, Logs, PIECE_BYTES};
pub use threads::Thread;

use flott_checkpoint::manifest::InlineBytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Which logs there are.
    Logs,
    /// Which part of a log is shown.
    Extent(LogName),
    /// The beginning of a part of a log.
    Piece(LogName, Extent),
    /// What the threads do.
    Threads,
}

/// What is answered, each to the question of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The logs by name.
    Logs(Vec<LogFile>),
    /// The part.
    Extent(Extent),
    /// At most [`PIECE_BYTES`].
    Piece(InlineBytes),
    /// The threads, oldest first.
    Threads(Vec<Thread>),
}

/// Why a question is not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum InquiryError {
    /// The process knows no file of its own.
    #[error(
        "this process writes its log to standard error: where that goes into a file, name it by {option}, as 'flott cluster start' does"
    )]
    Untold {
        /// The option that would name it.
        option: String,
    },
    /// No name of a file.
    #[error("'{name}' is a path or hidden, and not the name of a file in the folder of the log")]
    NoName {
        /// What was asked for.
        name: String,
    },
    /// No such file.
    #[error("there is no log '{name}' in the folder of the log")]
    Missing {
        /// What was asked for.
        name: String,
    },
    /// The system does not let it be read.
    #[error("{what} cannot be read: {fault}")]
    Unreadable {
        /// What was to be read.
        what: String,
        /// What the system says.
        fault: String,
    },
    /// Nobody is there any more who could answer.
    #[error("the process is gone: {why}")]
    Gone {
        /// Since when, or why.
        why: String,
    },
}

impl InquiryError {
    fn unreadable(what: impl Into<String>, fault: &std::io::Error) -> Self {
        Self::Unreadable {
            what: what.into(),
            fault: fault.to_string(),
        }
    }
}

/// Answers for this process. Waits for the disk.
///
/// # Errors
/// If the file is not there, or cannot be read.
pub fn answer(logs: &Logs, question: &Question) -> Result<Answer, InquiryError> {
    match question {
        Question::Logs => logs.list().map(Answer::Logs),
        Question::Extent(name) => logs.extent(name).map(Answer::Extent),
        Question::Piece(name, extent) => {
            let piece = logs.piece(name, *extent)?;
            Ok(Answer::Piece(InlineBytes(piece.into())))
        }
        Question::Threads => threads::all().map(Answer::Threads),
    }
}
