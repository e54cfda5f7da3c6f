//! Writing state files: [`StateWriter`], which gives every file a name of its own.

use crate::error::CheckpointError;
use crate::layout;
use crate::root::Root;
use flott_core::{CheckpointId, Generation, OperatorId};
use object_store::PutPayload;
use std::sync::Weak;

/// Writes the state files of one attempt for one checkpoint or savepoint. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct StateWriter {
    root: Root,
    /// Folder of the files within the root; empty in a savepoint.
    folder: String,
    generation: Generation,
    attempt: u64,
    /// Who waits for the files; `None`: somebody does for as long as there is a writer.
    wanted: Option<Weak<()>>,
}

impl StateWriter {
    pub(crate) fn new(root: Root, folder: &str, generation: Generation, attempt: u64) -> Self {
        Self {
            root,
            folder: folder.to_owned(),
            generation,
            attempt,
            wanted: None,
        }
    }

    /// Writes the files of attempt `attempt` under leadership `generation` for a checkpoint, in the job's folder `root`.
    pub fn of_checkpoint(root: &Root, checkpoint: CheckpointId, generation: Generation, attempt: u64) -> Self {
        Self::new(
            root.clone(),
            &layout::checkpoint_folder(checkpoint),
            generation,
            attempt,
        )
    }

    /// Writes no further file once what `wanted` points to is dropped: the checkpoint was given up, and a next one may be
    /// writing the same state already.
    pub fn while_wanted(self, wanted: Weak<()>) -> Self {
        let wanted = Some(wanted);
        Self { wanted, ..self }
    }

    /// Writes the one file of a subtask of `owner` (the operator, or the first one of a chain), in one or several parts, and
    /// returns its path for the manifest. When it returns, the file survives a power cut.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn write(
        &self,
        owner: OperatorId,
        subtask: usize,
        content: impl Into<PutPayload>,
    ) -> Result<String, CheckpointError> {
        self.write_as(
            layout::state_file(self.generation, self.attempt, owner, subtask),
            content,
        )
        .await
    }

    /// Writes a further file of a subtask, numbered by `part`; as [`Self::write`].
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn write_part(
        &self,
        owner: OperatorId,
        subtask: usize,
        part: usize,
        content: impl Into<PutPayload>,
    ) -> Result<String, CheckpointError> {
        let name = layout::state_part_file(self.generation, self.attempt, owner, subtask, part);
        self.write_as(name, content).await
    }

    async fn write_as(&self, name: String, content: impl Into<PutPayload>) -> Result<String, CheckpointError> {
        let path = if self.folder.is_empty() {
            name
        } else {
            format!("{}/{name}", self.folder)
        };
        if self.wanted.as_ref().is_some_and(|w| w.strong_count() == 0) {
            return Err(CheckpointError::GivenUp { path });
        }
        let content = content.into();
        self.root.put_own(&path, content.clone()).await?;
        if let Some(copies) = self.root.copies() {
            copies.add(&path, content).await;
        }
        Ok(path)
    }
}
