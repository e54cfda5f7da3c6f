//! Claims of leadership in the folder `leader` of `high-availability.storageDir`: they give every leadership its epoch.
//!
//! A claim is a file that is put if it is absent, under the number behind the highest one. So epochs grow for as long as the folder with
//! the jobs is kept, whichever kind of election says who leads, also when that is changed, or when a ZooKeeper has lost what it knew.

use super::Candidate;
use crate::error::ClusterError;
use bytes::Bytes;
use flott_checkpoint::{CheckpointError, Root};

/// What the names of claims begin with.
pub(super) const CLAIM: &str = "claim-";
/// What the names of signs of life begin with.
pub(super) const SIGN: &str = "sign-";

/// The name of a file of `epoch`.
pub(super) fn name(kind: &str, epoch: u64) -> String {
    format!("{kind}{epoch:020}")
}

/// Puts the claim of an epoch; `false` if it is taken.
///
/// # Errors
/// If the store refuses.
pub(super) async fn put(root: &Root, epoch: u64, candidate: &Candidate) -> Result<bool, ClusterError> {
    let content = serde_json::to_vec(candidate)
        .map_err(|e| ClusterError::Connection(format!("a claim of leadership cannot be written: {e}")))?;
    match root.put_new(&name(CLAIM, epoch), Bytes::from(content)).await {
        Ok(()) => {}
        // Somebody else was quicker, or a retry found its own file: the next number is free either way.
        Err(error) if error.is_exists() => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    forget_before(root, epoch).await;
    Ok(true)
}

/// Puts a claim behind all that there are; its epoch.
///
/// # Errors
/// If the store refuses.
pub(super) async fn put_next(root: &Root, candidate: &Candidate) -> Result<u64, ClusterError> {
    loop {
        let epoch = highest(root).await?.unwrap_or(0) + 1;
        if put(root, epoch, candidate).await? {
            return Ok(epoch);
        }
    }
}

/// The highest claim.
///
/// # Errors
/// If the store cannot be listed.
pub(super) async fn highest(root: &Root) -> Result<Option<u64>, CheckpointError> {
    let files = root.list().await?;
    Ok(files.iter().filter_map(|file| epoch_of(&file.path, CLAIM)).max())
}

fn epoch_of(path: &str, kind: &str) -> Option<u64> {
    path.strip_prefix(kind)?.parse().ok()
}

/// Deletes what leaders before `epoch` have left.
async fn forget_before(root: &Root, epoch: u64) {
    let files = root.list().await.unwrap_or_default();
    let of_earlier = |path: &str| {
        let of = epoch_of(path, CLAIM).or_else(|| epoch_of(path, SIGN));
        of.is_some_and(|of| of < epoch)
    };
    for file in files.iter().filter(|file| of_earlier(&file.path)) {
        if let Err(error) = root.delete(&file.path).await {
            tracing::debug!(%error, "a claim of an earlier leader stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn epochs_grow_past_every_claim_that_there_is() {
        let root = Root::in_memory();
        let candidate = Candidate {
            rpc_address: "a:1".to_owned(),
            rest_address: "a:2".to_owned(),
        };
        assert_eq!(put_next(&root, &candidate).await.unwrap(), 1);
        assert!(put(&root, 7, &candidate).await.unwrap());
        assert!(!put(&root, 7, &candidate).await.unwrap(), "it is taken");
        let (one, other) = tokio::join!(put_next(&root, &candidate), put_next(&root, &candidate));
        let mut both = [one.unwrap(), other.unwrap()];
        both.sort_unstable();
        assert_eq!(both, [8, 9]);
        assert_eq!(highest(&root).await.unwrap(), Some(9));
    }
}
