//! `flott new`: what it makes is built, run and tested; what it refuses, it leaves alone.

use crate::support::{flott, root, text};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

fn cargo(folder: &Path, args: &[&str]) -> Output {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    // What this workspace has built is used again.
    let target = Path::new(env!("CARGO_BIN_EXE_flott")).ancestors().nth(2).unwrap();
    let mut command = Command::new(cargo);
    command
        .args(args)
        .arg("--offline")
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "cargo {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A workspace that differs from ours by the new project alone, so that Cargo finds its dependencies built.
#[test]
#[ignore = "builds our crates once more, for some minutes: .ci/run does"]
fn a_new_project_builds_runs_and_is_tested() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    for part in ["crates", "examples", "tests"] {
        symlink(root().join(part), folder.join(part)).unwrap();
    }
    let members = text("Cargo.toml").replace("members = [", "members = [\"my-job\", ");
    std::fs::write(folder.join("Cargo.toml"), members).unwrap();
    std::fs::write(folder.join("Cargo.lock"), text("Cargo.lock")).unwrap();

    let project = folder.join("my-job");
    let made = flott(&["new", project.to_str().unwrap(), "--path", folder.to_str().unwrap()]).expect(0);
    assert!(made.out.starts_with("my-job is made, with flott from "), "{}", made.out);
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let (member, alone) = manifest.split_once("# A workspace of its own").unwrap();
    assert!(alone.contains("[workspace]"), "{alone}");
    // As it is, it is a manifest.
    cargo(&project, &["metadata", "--format-version=1", "--no-deps"]);
    let (member, _) = member.split_once("# Dependencies are built once").unwrap();
    std::fs::write(project.join("Cargo.toml"), member).unwrap();

    cargo(&folder, &["build", "--workspace", "--bin", "my-job"]);
    let binary = Path::new(env!("CARGO_BIN_EXE_flott")).with_file_name("my-job");
    let ran = Command::new(&binary).current_dir(&project).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let printed = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(printed, "(to,1)\n(be,1)\n(or,1)\n(not,1)\n(to,2)\n(be,2)\n");
    assert!(project.join("checkpoints").is_dir(), "it keeps checkpoints");
    let tested = cargo(&folder, &["test", "--workspace", "--bin", "my-job"]);
    let tested = String::from_utf8(tested.stdout).unwrap();
    assert!(tested.contains("test tests::words_are_counted ... ok"), "{tested}");
}

#[test]
fn what_exists_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    let refused = flott(&["new", taken.to_str().unwrap()]).expect(1);
    assert!(
        refused
            .err
            .contains("taken' exists already: choose another name, or move it away"),
        "{}",
        refused.err
    );
    assert_eq!(std::fs::read_dir(&taken).unwrap().count(), 0);
}

#[test]
fn wrong_names_and_places_make_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (args, said) in [
        (
            vec![place("7-seas")],
            "a project cannot be named '7-seas': it begins with something other than a letter; 'job-7-seas'",
        ),
        (
            vec![place("std")],
            "'std': it is a name that Cargo, Rust or a dependency of the project has; 'std-job' would do",
        ),
        (vec![place("..")], "names no folder: flott new my-job"),
        (
            vec![place("job"), "--path".to_owned(), place("")],
            "this is no checkout of Flott, which has a folder crates/flott",
        ),
        (
            vec![place("job"), "--path".to_owned(), place("nowhere")],
            "it cannot be found",
        ),
    ] {
        let mut all = vec!["new"];
        all.extend(args.iter().map(String::as_str));
        let refused = flott(&all).expect(1);
        assert!(refused.err.contains(said), "{}", refused.err);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
