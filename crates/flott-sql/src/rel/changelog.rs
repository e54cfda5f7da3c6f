//! Changelog modes: which kinds of rows a relation yields, and whether its reader needs the old content of updates.

use super::{Rel, RelOp, WindowAggregate};
use crate::rules::window_of;
use flott_runtime::connector::ChangelogMode;
use std::fmt;

/// Kinds of change, with updates as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModifyKinds {
    /// Updates happen.
    pub update: bool,
    /// Deletions happen.
    pub delete: bool,
}

impl ModifyKinds {
    /// Only inserts.
    pub const APPEND: Self = Self {
        update: false,
        delete: false,
    };
    /// Everything.
    pub const ALL: Self = Self {
        update: true,
        delete: true,
    };

    /// Whether only inserts happen.
    pub fn is_append(self) -> bool {
        self == Self::APPEND
    }

    /// What `rel` yields.
    pub fn of(rel: &Rel) -> Self {
        match &rel.op {
            RelOp::Scan(scan) => match scan.traits.changelog {
                ChangelogMode::Append => Self::APPEND,
                ChangelogMode::Upsert | ChangelogMode::Retract => Self::ALL,
            },
            RelOp::WindowAggregate(WindowAggregate {
                emit: Some(_), input, ..
            }) => {
                let kinds = Self::of(input);
                Self {
                    update: true,
                    delete: kinds.update || kinds.delete,
                }
            }
            RelOp::Over(over) if over.input.fields[over.order].time.is_none() => {
                let kinds = Self::of(&over.input);
                Self {
                    update: true,
                    delete: kinds.update || kinds.delete,
                }
            }
            RelOp::Values(_) | RelOp::WindowAggregate(_) | RelOp::Over(_) => Self::APPEND,
            RelOp::Sort(sort) => match sort.fetch {
                Some(_) if !sort.order.is_empty() => Self::ALL,
                Some(_) if !Self::of(&sort.input).is_append() => Self::ALL,
                _ => Self::of(&sort.input),
            },
            RelOp::Calc { input, condition, .. } => {
                let kinds = Self::of(input);
                Self {
                    update: kinds.update,
                    delete: kinds.delete || (kinds.update && condition.is_some()),
                }
            }
            RelOp::WindowTvf { input, .. } | RelOp::Expand { input, .. } | RelOp::Unnest { input, .. } => {
                Self::of(input)
            }
            // Windows close once.
            RelOp::Aggregate { input, keys, .. } if window_of(&input.fields, keys).is_some() => Self::APPEND,
            RelOp::Aggregate { input, calls, .. } => {
                let kinds = Self::of(input);
                Self {
                    update: !calls.is_empty(),
                    delete: kinds.update || kinds.delete,
                }
            }
            RelOp::Union { inputs } => inputs.iter().map(Self::of).fold(Self::APPEND, |a, b| Self {
                update: a.update || b.update,
                delete: a.delete || b.delete,
            }),
        }
    }
}

/// A changelog as EXPLAIN prints it: `I`, `I,UA`, `I,UB,UA,D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changelog {
    /// Which changes.
    pub kinds: ModifyKinds,
    /// Whether updates bring the old content too.
    pub update_before: bool,
}

impl fmt::Display for Changelog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("I")?;
        if self.kinds.update {
            f.write_str(if self.update_before { ",UB,UA" } else { ",UA" })?;
        }
        if self.kinds.delete {
            f.write_str(",D")?;
        }
        Ok(())
    }
}
