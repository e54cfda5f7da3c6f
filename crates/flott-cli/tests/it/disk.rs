//! Disks that are full or read-only, under checkpoints, savepoints and the rows themselves: a message with place, cause and
//! remedy, an exit code that is not 0, and nothing lost once there is space again.
//!
//! The disks are real: file systems in memory of a few hundred KiB, mounted for the test. That takes the right to mount, which
//! `unshare --map-root-user --mount` gives to anybody; what a crashed test leaves mounted goes with that process.

#[cfg(feature = "rocksdb")]
use crate::support::flott;
use crate::support::{Ended, wait_for};
use crate::trial::{From, PATIENCE, Sink, Trial, oracle, unfinished_files};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A file system of its own.
struct Disk {
    folder: PathBuf,
    filling: Mutex<Option<Filling>>,
}

/// Takes space as it comes free.
struct Filling {
    shall_end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Disk {
    fn mount(trial: &Trial, kib: usize) -> Self {
        let disk = Self {
            folder: trial.path("disk").into(),
            filling: Mutex::default(),
        };
        std::fs::create_dir(&disk.folder).unwrap();
        disk.run("mount", &["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]);
        disk
    }

    fn run(&self, command: &str, args: &[&str]) {
        let status = Command::new(command).args(args).arg(&self.folder).status().unwrap();
        assert!(
            status.success(),
            "{command} failed: run these tests under `unshare --map-root-user --mount`"
        );
    }

    fn set_read_only(&self, is: bool) {
        let how = if is { "remount,ro" } else { "remount,rw" };
        self.run("mount", &["-o", how]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Takes all space that is left, and what comes free: a job that deletes a file could write the next one in its place, for ever.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.path("ballast")).unwrap();
        let mut take_all = move || {
            for piece in [4096, 1] {
                while ballast.write_all(&vec![0; piece]).is_ok() {}
            }
        };
        take_all();
        let shall_end = Arc::new(AtomicBool::new(false));
        let ends = shall_end.clone();
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                take_all();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        *self.filling.lock().unwrap() = Some(Filling { shall_end, thread });
    }

    fn stop_filling(&self) {
        if let Some(filling) = self.filling.lock().unwrap().take() {
            filling.shall_end.store(true, Ordering::Relaxed);
            filling.thread.join().unwrap();
        }
    }

    /// Gives the space back.
    fn free(&self) {
        self.stop_filling();
        std::fs::remove_file(self.path("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.stop_filling();
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// The failure of a run says all these things.
#[track_caller]
fn says(ended: &Ended, parts: &[&str]) {
    let line = ended.err.lines().find(|l| l.starts_with("error: "));
    let line = line.unwrap_or_else(|| panic!("no error: {}", ended.err));
    for part in parts {
        assert!(line.contains(part), "'{part}' is missing: {line}");
    }
}

const FULL: &[&str] = &["No space left on device", "free some space"];
const READ_ONLY: &[&str] = &["Read-only file system", "writable"];

/// The failure that ends a job without restarts, then a restore that finds everything.
fn fails_and_goes_on(mut trial: Trial, parts: &[&str], spoil: impl FnOnce(), repair: impl FnOnce()) {
    let feeding = trial.feed_all();
    trial.options.push("restart-strategy.type=none".to_owned());
    let mut job = trial.start("2", From::Nothing, "");
    trial.wait_for_rows(0, &mut job);
    spoil();
    let ended = job.ended().expect(1);
    says(&ended, parts);
    repair();
    feeding.join().unwrap();
    assert_eq!(trial.settle(From::Latest, "", PATIENCE), Ok(()));
}

/// As long as it may restart, a job waits until there is space again.
fn rides_out(trial: &Trial, disk: &Disk) {
    let feeding = trial.feed_all();
    let mut job = trial.start("2", From::Nothing, "");
    trial.wait_for_rows(0, &mut job);
    disk.fill();
    wait_for(|| job.err().contains("No space left on device") || !job.is_running());
    assert!(job.is_running(), "{}", job.err());
    disk.free();
    feeding.join().unwrap();
    trial.finish(&oracle(), job, PATIENCE).unwrap();
}

fn checkpoints_on(trial: &mut Trial, disk: &Disk) {
    trial.checkpoints = format!("file://{}", disk.path("checkpoints").display());
}

#[cfg(feature = "rocksdb")]
#[test]
#[ignore = "mounts file systems: .ci/run gives it the right to"]
fn a_disk_of_state_that_gets_full() {
    let trial = Trial::to_topic();
    let disk = Disk::mount(&trial, 6 * 1024);
    let local = disk.path("rocks").display().to_string();
    let sql = format!(
        "SET 'state.backend.type' = 'rocksdb'; SET 'state.backend.rocksdb.localdir' = '{local}';
         SET 'state.backend.rocksdb.memory.fixed-per-slot' = '4 mb'; SET 'restart-strategy.type' = 'none';
         CREATE TABLE g (k BIGINT, tag STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000', 'fields.tag.length' = '100');
         CREATE TABLE f (k BIGINT, n BIGINT, tag STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'blackhole');
         INSERT INTO f SELECT k, COUNT(*), MAX(tag) FROM g GROUP BY k;"
    );
    let ended = flott(&["run", "-p", "1", "-e", &sql]).expect(1);
    says(&ended, &["No space left on device", &local, "has space"]);
    let left: Vec<_> = std::fs::read_dir(&local).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
#[ignore = "mounts file systems: .ci/run gives it the right to"]
fn a_disk_of_checkpoints_that_gets_full() {
    let mut trial = Trial::to_topic();
    let disk = Disk::mount(&trial, 512);
    checkpoints_on(&mut trial, &disk);
    let path = trial.checkpoints.strip_prefix("file://").unwrap().to_owned();
    let parts = [FULL, &[&path, "execution.checkpointing.dir"]].concat();
    fails_and_goes_on(trial, &parts, || disk.fill(), || disk.free());
}

#[test]
#[ignore = "mounts file systems: .ci/run gives it the right to"]
fn a_full_disk_of_checkpoints_is_ridden_out() {
    let mut trial = Trial::to_topic();
    let disk = Disk::mount(&trial, 512);
    checkpoints_on(&mut trial, &disk);
    rides_out(&trial, &disk);
}

#[test]
#[ignore = "mounts file systems: .ci/run gives it the right to"]
fn a_disk_of_checkpoints_that_is_full_or_read_only_from_the_start() {
    let mut trial = Trial::to_topic();
    let disk = Disk::mount(&trial, 64);
    checkpoints_on(&mut trial, &disk);
    let path = trial.checkpoints.strip_prefix("file://").unwrap().to_owned();
    std::fs::create_dir(&path).unwrap();
    disk.fill();
    let ended = trial.start("1", From::Nothing, "").ended().expect(1);
    says(&ended, &[FULL, &[&path]].concat());
    disk.free();
    disk.set_read_only(true);
    let ended = trial.start("1", From::Latest, "").ended().expect(1);
    says(&ended, &[READ_ONLY, &[&path]].concat());
    disk.set_read_only(false);
    trial.feed_all().join().unwrap();
    assert_eq!(trial.settle(From::Latest, "", PATIENCE), Ok(()));
}

#[test]
#[ignore = "mounts file systems: .ci/run gives it the right to"]
fn a_disk_of_checkpoints_that_becomes_read_only() {
    let mut trial = Trial::to_files();
    let disk = Disk::mount(&trial, 512);
    checkpoints_on(&mut trial, &disk);
    let path = trial.checkpoints.strip_prefix("file://").unwrap().to_owned();
    let parts = [READ_ONLY, &[&path]].concat();
    fails_and_goes_on(trial, &parts, || disk.set_read_only(true), || disk.set_read_only(false));
}

#[test]
#[ignore = "mounts file systems: .ci/run gives it the right to"]
fn a_disk_of_rows_that_gets_full() {
    let mut trial = Trial::to_files();
    let disk = Disk::mount(&trial, 512);
    trial.set_sink(Sink::Files(disk.path("out")));
    let path = disk.path("out").display().to_string();
    let parts = [FULL, &[&path, "website_traffic_stats"]].concat();
    fails_and_goes_on(trial, &parts, || disk.fill(), || disk.free());
}

#[test]
#[ignore = "mounts file systems: .ci/run gives it the right to"]
fn a_full_disk_of_rows_is_ridden_out() {
    let mut trial = Trial::to_files();
    let disk = Disk::mount(&trial, 512);
    trial.set_sink(Sink::Files(disk.path("out")));
    rides_out(&trial, &disk);
}

#[test]
#[ignore = "mounts file systems: .ci/run gives it the right to"]
fn a_savepoint_without_space_is_told_and_loses_nothing() {
    let trial = Trial::to_files();
    let disk = Disk::mount(&trial, 64);
    let savepoints = disk.path("savepoints").display().to_string();
    let start = || trial.start_with("2", From::Nothing, "", &["--savepoint-on-stop", &savepoints]);
    disk.fill();
    says(&start().ended().expect(1), &[FULL, &[&savepoints]].concat());
    disk.free();
    let feeding = trial.feed_all();
    let mut job = start();
    trial.wait_for_rows(0, &mut job);
    disk.fill();
    job.terminate();
    let ended = job.ended().expect(1);
    says(&ended, &["No space left on device", "without a savepoint", &savepoints]);
    feeding.join().unwrap();
    assert_eq!(trial.settle(From::Latest, "", PATIENCE), Ok(()));
    assert_eq!(unfinished_files(&disk.path("savepoints")), Vec::<PathBuf>::new());
}

#[test]
fn a_file_in_the_place_of_the_checkpoints() {
    let mut trial = Trial::to_files();
    let file = trial.path("file");
    std::fs::write(&file, "precious").unwrap();
    for place in [file.clone(), format!("{file}/checkpoints")] {
        trial.checkpoints = format!("file://{place}");
        let ended = trial.start("1", From::Latest, "").ended().expect(1);
        says(
            &ended,
            &[&place, "a file is in its place", "execution.checkpointing.dir"],
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}
