//! What can go wrong with checkpoints and where they lie.

use std::fmt;

/// A checkpoint could not be written, read or found.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The address of a folder is not one that we know.
    #[error("'{uri}' is no place for checkpoints: {problem}; use a path, file:///path or s3://bucket/prefix")]
    BadUri {
        /// What was given.
        uri: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An option of the store is missing or wrong.
    #[error("checkpoints at {uri}: {problem}")]
    BadOption {
        /// The place.
        uri: String,
        /// What is wrong, and what is needed.
        problem: String,
    },
    /// The store does not do what the protocol stands on.
    #[error("{place} cannot hold checkpoints: {problem}; {remedy}")]
    Unsuitable {
        /// The place.
        place: String,
        /// What was seen.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A file could not be written, read or deleted.
    #[error("cannot {action} {path}: {cause}{}", Remedy(.cause))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file, in full.
        path: String,
        /// Why not.
        cause: IoCause,
    },
    /// The checkpoint was given up while its files were written.
    #[error("{path} is not written: its checkpoint was given up")]
    GivenUp {
        /// The file.
        path: String,
    },
    /// Another process has claimed the job's checkpoints.
    #[error(
        "generation {ours} may no longer write to {path}: generation {newest} has taken over; this job must stop. Two jobs cannot have one 'pipeline.name' in one checkpoint directory at the same time: name them differently, or put their INSERTs into one STATEMENT SET"
    )]
    Fenced {
        /// The folder.
        path: String,
        /// Who asks.
        ours: u64,
        /// Who leads.
        newest: u64,
    },
    /// A later leader of the same cluster has claimed the job's checkpoints.
    #[error(
        "the leader of epoch {ours} does not lead any more: that of epoch {theirs} has claimed the checkpoints at {path}"
    )]
    Superseded {
        /// The folder.
        path: String,
        /// Who asks.
        ours: u64,
        /// Who leads.
        theirs: u64,
    },
    /// A checkpoint refers to a file that is not known to be there.
    #[error(
        "checkpoint {checkpoint} builds on {path}, which is not kept any more: it is not completed, the next one writes in full"
    )]
    MissingBase {
        /// The checkpoint.
        checkpoint: u64,
        /// The file.
        path: String,
    },
    /// A manifest cannot be written as JSON.
    #[error("manifest cannot be encoded: {source}")]
    EncodeManifest {
        /// Why.
        source: serde_json::Error,
    },
    /// A manifest is damaged.
    #[error("{path} is not a whole manifest: {problem}; restore from an older checkpoint")]
    DamagedManifest {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A manifest is of a version that we do not read.
    #[error(
        "{path} has format version {version}, this program reads up to {newest}: use the version of Flott that wrote it"
    )]
    UnknownVersion {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
        /// What we read.
        newest: u32,
    },
    /// A state file is damaged or missing.
    #[error("state file {path} is damaged: {problem}; restore from an older checkpoint")]
    DamagedFile {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing to restore from at a path.
    #[error("there is no checkpoint or savepoint at {path}: {problem}")]
    NotFound {
        /// What was given.
        path: String,
        /// What was looked for.
        problem: String,
    },
    /// Every checkpoint is damaged.
    #[error("no checkpoint in {path} can be read; the newest: {newest}")]
    AllDamaged {
        /// The folder.
        path: String,
        /// Why the newest cannot.
        newest: String,
    },
    /// State does not fit the job that wants it.
    #[error("state of operator '{operator}' cannot be restored: {problem}")]
    Mismatch {
        /// The operator's name.
        operator: String,
        /// What does not fit, and what to do.
        problem: String,
    },
}

/// Why the store refused.
#[derive(Debug)]
pub enum IoCause {
    /// There is no such file.
    NotFound,
    /// The file exists and was not to be overwritten.
    Exists,
    /// No permission, or a read-only file system.
    Denied(String),
    /// No space is left.
    Full(String),
    /// Something that is no folder stands where a folder should be.
    NotAFolder,
    /// Anything else.
    Other(String),
}

impl fmt::Display for IoCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("it does not exist"),
            Self::Exists => f.write_str("it exists already"),
            Self::NotAFolder => f.write_str("a file is in its place"),
            Self::Denied(text) | Self::Full(text) | Self::Other(text) => f.write_str(text),
        }
    }
}

/// What to do about a cause, as the end of a message.
struct Remedy<'a>(&'a IoCause);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            IoCause::Denied(_) => {
                "; make the folder writable for this user, or choose another with 'execution.checkpointing.dir'"
            }
            IoCause::Full(_) => "; free some space, or choose another folder with 'execution.checkpointing.dir'",
            IoCause::NotAFolder => "; move the file away, or choose another folder with 'execution.checkpointing.dir'",
            IoCause::NotFound | IoCause::Exists | IoCause::Other(_) => "",
        })
    }
}

impl CheckpointError {
    /// The error of a store's answer.
    pub(crate) fn io(action: &'static str, path: impl Into<String>, source: &object_store::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            cause: IoCause::of(source),
        }
    }

    /// The error of the file system's answer to making a folder.
    pub(crate) fn folder(path: impl Into<String>, source: &std::io::Error) -> Self {
        let cause = match IoCause::of_io(source) {
            // The call takes a folder that is there for made.
            IoCause::Exists => IoCause::NotAFolder,
            cause => cause,
        };
        Self::Io {
            action: "create folder",
            path: path.into(),
            cause,
        }
    }

    /// The error of the file system's answer.
    pub(crate) fn file(action: &'static str, path: impl Into<String>, source: &std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.into(),
            cause: IoCause::of_io(source),
        }
    }

    /// Whether a file was looked for that is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Io {
                    cause: IoCause::NotFound,
                    ..
                }
        )
    }

    /// Whether the store did not say what is there: another time it may.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Io { .. }) && !self.is_not_found()
    }

    /// Whether a file exists that was to be created.
    pub fn is_exists(&self) -> bool {
        matches!(
            self,
            Self::Io {
                cause: IoCause::Exists,
                ..
            }
        )
    }

    /// Whether another process leads.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::Superseded { .. })
    }
}

impl IoCause {
    fn of(error: &object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => Self::Exists,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::Denied(chain(error))
            }
            other => {
                let mut source: Option<&(dyn std::error::Error + 'static)> = Some(other);
                while let Some(error) = source {
                    if let Some(io) = error.downcast_ref::<std::io::Error>() {
                        return Self::of_io(io);
                    }
                    source = error.source();
                }
                Self::Other(chain(error))
            }
        }
    }

    fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let text = error.to_string();
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::AlreadyExists => Self::Exists,
            ErrorKind::NotADirectory => Self::NotAFolder,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::Denied(text),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full(text),
            _ => Self::Other(text),
        }
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
