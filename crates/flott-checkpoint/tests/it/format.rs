//! Format version 1 must be readable for ever: `tests/data/v1` was written by the first version, and stays as it is.

use flott_checkpoint::*;
use flott_core::Options;

#[tokio::test]
async fn a_savepoint_of_version_1_is_described() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/v1");
    let description = describe(path, &Options::new()).await.unwrap();
    assert_eq!(description.job_name, "website traffic");
    let [source, aggregate] = description.operators.as_slice() else {
        panic!("{description}")
    };
    assert_eq!(
        (source.name.as_str(), source.states[0].name.as_str()),
        ("source", "splits")
    );
    let table = &aggregate.states[0];
    assert_eq!(table.name, "counts");
    assert_eq!(
        table.types,
        "(STRING) -> (count i64, total i128, average f64, seen bool, last bytes)"
    );
    assert_eq!((table.rows, table.slices), (602, 2));
    let text = description.to_string();
    assert!(text.contains("savepoint 7 of 'website traffic'"), "{text}");
    assert!(text.contains("key groups 0-63 64-127"), "{text}");
}

#[test]
fn a_manifest_of_an_impossible_length_is_damaged() {
    for bytes in [u64::MAX, i64::MAX as u64, 4] {
        let text = format!(
            "{{\"format\":\"flott-checkpoint\",\"version\":1,\"crc32c\":\"00000000\",\"bytes\":{bytes}}}\n{{}}\n"
        );
        let error = Manifest::decode(text.as_bytes(), "manifest").unwrap_err().to_string();
        assert!(error.contains("cut off"), "{error}");
    }
}
