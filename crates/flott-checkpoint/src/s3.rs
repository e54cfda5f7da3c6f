//! S3-compatible stores by address and Flink's options: the one place that makes their clients.

use crate::error::CheckpointError;
use crate::root::S3_SCHEMES;
use flott_core::Options;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};

/// The bucket that an address names; `None` if it is no address of such a store.
pub fn bucket_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once("://")?;
    S3_SCHEMES
        .contains(&scheme.to_ascii_lowercase().as_str())
        .then(|| rest.split('/').next().unwrap_or_default())
}

/// A client for a bucket. `uri` is what errors name. Nothing is asked of the store.
///
/// Reads Flink's options `s3.endpoint`, `s3.access-key`, `s3.secret-key`, `s3.path.style.access` and `s3.endpoint.region`, and
/// what they leave open from the usual `AWS_` variables.
///
/// # Errors
/// If an option is wrong.
pub fn open_bucket(uri: &str, bucket: &str, options: &Options) -> Result<AmazonS3, CheckpointError> {
    let bad = |problem: String| CheckpointError::BadOption {
        uri: uri.to_owned(),
        problem,
    };
    let option = |names: &[&str]| names.iter().find_map(|n| options.get(n)).map(str::to_owned);
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    if let Some(endpoint) = option(&["s3.endpoint"]) {
        let endpoint = if endpoint.contains("://") {
            endpoint
        } else {
            format!("https://{endpoint}")
        };
        builder = builder
            .with_allow_http(endpoint.starts_with("http://"))
            .with_endpoint(endpoint);
    }
    if let Some(key) = option(&["s3.access-key", "s3.access.key"]) {
        builder = builder.with_access_key_id(key);
    }
    if let Some(key) = option(&["s3.secret-key", "s3.secret.key"]) {
        builder = builder.with_secret_access_key(key);
    }
    if let Some(region) = option(&["s3.endpoint.region", "s3.region"]) {
        builder = builder.with_region(region);
    }
    for name in ["s3.path.style.access", "s3.path-style-access"] {
        if let Some(by_path) = options.boolean(name).map_err(|e| bad(e.to_string()))? {
            builder = builder.with_virtual_hosted_style_request(!by_path);
        }
    }
    builder.build().map_err(|e| bad(e.to_string()))
}
