//! Rewrites of the relational tree: the rules that decide a plan's shape, in one fixed order.
//!
//! | rule | what it does |
//! |---|---|
//! | [`fold`] | computes constant expressions once |
//! | [`merge`] | pushes conditions down and makes one Calc of neighbouring ones |
//! | [`imply`] | simplifies what a condition says about a projection |
//! | [`split`] | splits DISTINCT aggregates by buckets of their values, where an option asks for it |
//! | [`window`] | turns GROUP BY over a window function into a window aggregate |
//! | [`prune`] | drops columns that nobody reads |
//! | [`partitions`] | tells scans which partitions their readers leave out |
//! | [`narrow`] | leaves only the columns, and fields of ROWs, that are read to the scans of all sinks together |
//!
//! Every rule keeps the meaning of each root; all of them are pure.

mod fold;
mod imply;
mod merge;
mod narrow;
mod partitions;
mod prune;
pub(crate) mod split;
mod window;

pub use window::window_of;

use crate::config::PlannerConfig;
use crate::error::SqlResult;
use crate::expr::EvalContext;
use crate::rel::Rel;

/// Rewrites the roots of one job together.
///
/// # Errors
/// If a window cannot be computed.
pub fn optimize(roots: Vec<Rel>, context: &EvalContext, config: &PlannerConfig) -> SqlResult<Vec<Rel>> {
    let mut rewritten = vec![];
    for root in roots {
        let mut root = merge::merge(fold::fold(root, context));
        if let Some(buckets) = config.split_distinct {
            root = merge::merge(split::split(root, buckets, config)?);
        }
        let root = window::windows(root, &config.emit)?;
        let root = prune::prune(imply::imply(merge::merge(root)));
        let root = imply::imply(merge::merge(root));
        // Merging may have made new constants of columns that are constant.
        rewritten.push(partitions::partitions(fold::fold(root, context)));
    }
    Ok(narrow::narrow(rewritten)
        .into_iter()
        .map(merge::drop_identities)
        .collect())
}
