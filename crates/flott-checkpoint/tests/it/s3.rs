//! Checkpoints on an S3-compatible server (moto's, MinIO): `bench/s3-up.sh` starts one and prints its address.
//!
//! `FLOTT_S3_ENDPOINT=http://127.0.0.1:5555 cargo test -p flott-checkpoint --features s3 --test it -- --ignored s3`

use crate::support::{JOB, read_all, take};
use flott_checkpoint::*;
use flott_core::{JobId, Options};

/// Options of the test server, and a folder of its own in the bucket `FLOTT_S3_BUCKET` (which exists; default `flott`).
fn server() -> (Options, String) {
    let endpoint = std::env::var("FLOTT_S3_ENDPOINT").expect("FLOTT_S3_ENDPOINT names the server to test against");
    let bucket = std::env::var("FLOTT_S3_BUCKET").unwrap_or_else(|_| "flott".to_owned());
    let mut options = Options::new();
    options.set("s3.endpoint", endpoint);
    options.set("s3.access-key", "test");
    options.set("s3.secret-key", "test");
    options.set("s3.path.style.access", "true");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    (options, format!("s3://{bucket}/tests/{}", now.as_nanos()))
}

#[tokio::test]
#[ignore = "needs an S3 server: .ci/run starts it"]
async fn checkpoints_live_on_s3() {
    let (options, dir) = server();
    let store = CheckpointStore::open(&dir, JOB, &options).await.unwrap();
    let leader = store.claim("test").await.unwrap();
    let mut next = leader.start_from(None).await.unwrap();
    let mut files = vec![];
    for _ in 0..4 {
        let (permit, now) = take(&leader, next, &files).await.unwrap();
        files = now;
        leader.mark_committed(permit.id).await.unwrap();
        leader.delete_superseded(2).await.unwrap();
        next += 1;
    }
    let latest = store.latest().await.unwrap().unwrap();
    assert_eq!(latest.manifest.checkpoint_id, next - 1);
    assert!(latest.is_committed);
    read_all(&latest).await.unwrap();
    let by_path = Snapshot::open(&latest.path, &options).await.unwrap();
    assert_eq!(by_path.manifest, latest.manifest);

    let savepoint = Savepoint::create(&format!("{dir}/savepoints"), JobId::of(JOB), &options)
        .await
        .unwrap();
    savepoint.complete_from(&latest).await.unwrap();
    let restored = Snapshot::open(&savepoint.path(), &options).await.unwrap();
    read_all(&restored).await.unwrap();

    let successor = store.claim("test").await.unwrap();
    successor.start_from(Some(&latest)).await.unwrap();
    assert!(take(&leader, next, &[]).await.unwrap_err().is_fenced());
    assert!(successor.sweep(i64::MAX, 0).await.unwrap() > 0);
    read_all(&store.latest().await.unwrap().unwrap()).await.unwrap();
}

#[tokio::test]
#[ignore = "needs an S3 server: .ci/run starts it"]
async fn a_bucket_that_is_not_there_and_keys_that_are_wrong_are_told() {
    let (options, dir) = server();
    let missing = dir.replacen("s3://", "s3://no-such-bucket-", 1);
    let error = CheckpointStore::open(&missing, JOB, &options).await.unwrap_err();
    assert!(error.to_string().contains("s3://no-such-bucket-"), "{error}");
    let mut nowhere = options.clone();
    nowhere.set("s3.path.style.access", "perhaps");
    let error = CheckpointStore::open(&dir, JOB, &nowhere).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'s3.path.style.access' has the value 'perhaps'"),
        "{error}"
    );
}
