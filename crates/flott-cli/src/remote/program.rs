//! `flott run PROGRAM`: a program of Flott, here as its own process, or with `-m` at a JobManager, whose TaskManagers run it.

use super::http::JobManager;
use super::manager;
use super::submit::{Submitted, submitted, wait};
use super::upload::FileUpload;
use crate::run::{RunArgs, runtime};
use crate::script::warn;
use anyhow::{Context, Result, anyhow};
use flott_cluster::settings::ClaimMode;
use serde_json::{Map, Value, json};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Runs a program.
///
/// # Errors
/// If it cannot be run, or its job fails.
pub fn run_program(args: &RunArgs, program: &Path) -> Result<()> {
    if args.jobmanager.is_none() {
        return Err(run_here(args, program));
    }
    let options = args.script.options()?;
    let manager = manager(args.jobmanager.as_deref(), &options)?;
    runtime()?.block_on(async {
        let job = submit(&manager, args, program).await?;
        match args.detached {
            true => Ok(()),
            false => wait(&manager, &job, args.quiet).await,
        }
    })
}

/// Becomes the program; why not.
fn run_here(args: &RunArgs, program: &Path) -> anyhow::Error {
    let cannot = || format!("the program {} cannot be run", program.display());
    // A name without a folder is no command of the system.
    let path = match program.canonicalize().with_context(cannot) {
        Ok(path) => path,
        Err(error) => return error,
    };
    let mut command = Command::new(path);
    let config = &args.script.config;
    if let Some(parallelism) = config.parallelism {
        command.arg("-p").arg(parallelism.to_string());
    }
    for define in &config.defines {
        command.arg("-D").arg(define);
    }
    if let Some(mode) = &args.claim.claim_mode {
        command.arg("-D").arg(format!("{}={mode}", ClaimMode::KEY));
    }
    if let Some(file) = &config.config {
        command.arg("--config").arg(file);
    }
    if let Some(restore) = &args.restore {
        command.arg("--restore").arg(restore);
    }
    if args.allow_non_restored_state {
        command.arg("--allow-non-restored-state");
    }
    if let Some(dir) = &args.savepoint_on_stop {
        command.arg("--savepoint-on-stop").arg(dir);
    }
    anyhow::Error::new(command.args(&args.arguments).exec()).context(cannot())
}

/// Uploads it, and has its job run.
async fn submit(manager: &JobManager, args: &RunArgs, program: &Path) -> Result<Submitted> {
    let uploaded = manager.upload("/jars/upload", &FileUpload::of(program)?).await?;
    let path = uploaded["filename"].as_str().unwrap_or_default();
    let id = Path::new(path).file_name().and_then(|name| name.to_str());
    let id = id.ok_or_else(|| {
        anyhow!(
            "the JobManager at {} has not told where it keeps the program: {uploaded}",
            manager.address()
        )
    })?;
    let jar = format!("/jars/{}", escaped(id));
    let answer = manager.post(&format!("{jar}/run"), &request(args)?).await;
    // It has its own copy by now, or wants none.
    if let Err(error) = manager.delete(&jar).await {
        warn(&format!(
            "the program stays among the JobManager's uploaded files: {error:#}"
        ));
    }
    let name = program.file_name().unwrap_or(program.as_os_str());
    submitted(manager, &answer?, name.to_string_lossy().into_owned(), args)
}

/// What is wanted of it.
fn request(args: &RunArgs) -> Result<Value> {
    let options = args.script.options()?;
    // How the JobManager is asked is no job's business, and tokens and keys are not kept with it.
    let options = options.iter().filter(|(key, _)| !key.starts_with("security."));
    let options: Map<String, Value> = options.map(|(key, value)| (key.to_owned(), value.into())).collect();
    Ok(json!({
        "programArgsList": args.arguments,
        "flinkConfiguration": options,
        "savepointPath": args.restore,
        "claimMode": args.claim.claim_mode,
        "allowNonRestoredState": args.allow_non_restored_state.then_some(true),
    }))
}

/// A file's id within the path of a request.
fn escaped(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    id.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_escaped() {
        assert_eq!(escaped("0-1_my job.x"), "0-1_my%20job.x");
        assert_eq!(escaped("é/"), "%C3%A9%2F");
    }
}
