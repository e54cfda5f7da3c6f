//! Files of programs beside the logs of their jobs: in parts, so that no JobManager ever holds one whole.

use super::{JobRecord, JobStore};
use crate::error::ClusterError;
use crate::program::{ProgramFiles, ProgramSpec};
use bytes::Bytes;
use flott_core::JobId;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes of a part.
const PART_BYTES: u64 = 8 << 20;

/// What follows the job's id in the path of a part.
const PART: &str = "program-";

fn part_path(job: JobId, number: u64) -> String {
    format!("{job}/{PART}{number:06}")
}

impl JobStore {
    /// Keeps the file of a job's program, before the job itself is kept.
    ///
    /// # Errors
    /// If it cannot be read, or the store refuses.
    pub(crate) async fn put_program(&self, job: JobId, file: &Path) -> Result<(), ClusterError> {
        let unread = |error: io::Error| {
            ClusterError::Resources(format!("the program at {} cannot be read: {error}", file.display()))
        };
        let mut from = File::open(file).map_err(unread)?;
        for number in 0.. {
            let mut part = vec![];
            from.by_ref().take(PART_BYTES).read_to_end(&mut part).map_err(unread)?;
            if part.is_empty() {
                break;
            }
            // A try before this one may have put it.
            self.root.put_over(&part_path(job, number), Bytes::from(part)).await?;
        }
        Ok(())
    }

    /// Deletes the file of the program of a job that has ended, if it has one.
    pub(super) async fn forget_program(&self, job: JobId) -> Result<(), ClusterError> {
        let prefix = format!("{job}/{PART}");
        for file in self.root.list().await? {
            if file.path.starts_with(&prefix) {
                self.root.delete(&file.path).await?;
            }
        }
        Ok(())
    }
}

impl JobRecord {
    /// Fetches the file of its program.
    ///
    /// # Errors
    /// If it is not there as it was put, or cannot be kept here.
    pub(crate) async fn fetch_program(
        &self,
        program: &ProgramSpec,
        files: &ProgramFiles,
    ) -> Result<PathBuf, ClusterError> {
        let (job, name) = (self.job, &program.name);
        let unwritten = |error: io::Error| {
            ClusterError::Resources(format!(
                "the program '{name}' of job {job} cannot be kept in the folder for temporary files (web.tmpdir): {error}"
            ))
        };
        let mut incoming = files.begin().map_err(unwritten)?;
        for number in 0..program.bytes.div_ceil(PART_BYTES) {
            let part = self.store.root.get(&part_path(job, number)).await?;
            incoming.write(&part).map_err(unwritten)?;
        }
        let (found, file) = incoming.finish().map_err(unwritten)?;
        match found == program.digest {
            true => Ok(file),
            false => Err(ClusterError::Restore(format!(
                "{} is not the program '{name}' that was submitted (SHA-256 {found}, expected {})",
                self.store.root.display(&format!("{job}/{PART}…")),
                program.digest
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_checkpoint::Root;
    use flott_core::Options;

    #[tokio::test]
    async fn a_program_is_fetched_as_it_was_put_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let options: Options = [("web.tmpdir", path.as_str())].into_iter().collect();
        let files = || ProgramFiles::of(&options, "web.tmpdir");
        let program = dir.path().join("program");
        let content: Vec<u8> = (0..PART_BYTES + 5).map(|n| n as u8).collect();
        std::fs::write(&program, &content).unwrap();
        let of_leader = files();
        let (digest, bytes, _) = of_leader.keep(&program).unwrap();
        let store = JobStore::new(Root::in_memory(), 1);
        store.put_program(JobId(7), &program).await.unwrap();
        store.put_program(JobId(8), &program).await.unwrap();
        let mut spec = ProgramSpec {
            name: "program".to_owned(),
            digest,
            bytes,
            arguments: vec![],
            options: Options::new(),
        };
        let (record, of_next) = (store.record(JobId(7)), files());
        let file = record.fetch_program(&spec, &of_next).await.unwrap();
        assert!(std::fs::read(file).unwrap() == content);
        spec.digest = "0".repeat(64);
        let error = record.fetch_program(&spec, &of_next).await.unwrap_err().to_string();
        assert!(error.contains("not the program 'program'"), "{error}");
        store.forget_program(JobId(7)).await.unwrap();
        assert!(record.fetch_program(&spec, &of_next).await.is_err());
        let left = store.root.list().await.unwrap();
        assert!(left.len() == 2 && left.iter().all(|file| file.path.starts_with(&JobId(8).to_string())));
    }
}
