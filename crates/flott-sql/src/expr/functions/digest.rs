//! Hash functions: the digest of a text's UTF-8 in lower-case hexadecimal digits, and a number for any value.

use super::bytes::push_hex;
use super::text::rows_of_text;
use super::{always, entry};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{Bytes, Primitives};
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array};
use flott_core::hash::hash_columns;
use flott_core::{LogicalType, TypeKind};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("MD5", "MD5(STRING)", infer, build),
    entry("SHA1", "SHA1(STRING)", infer, build),
    entry("SHA224", "SHA224(STRING)", infer, build),
    entry("SHA256", "SHA256(STRING)", infer, build),
    entry("SHA384", "SHA384(STRING)", infer, build),
    entry("SHA512", "SHA512(STRING)", infer, build),
    entry("SHA2", "SHA2(STRING, bits INT)", infer_sha2, build_sha2).failing(always),
    // Split DISTINCT's buckets; scripts cannot write it.
    entry("$HASH_CODE", "$HASH_CODE(ANY)", infer_hash_code, build_hash_code),
];

/// Appends the digest of bytes.
type Hash = fn(&[u8], &mut String);

fn hex(digest: &[u8], out: &mut String) {
    push_hex(digest, b"0123456789abcdef", out);
}

/// The function of a name, and its digits.
fn hash_of(name: &str) -> Option<(u32, Hash)> {
    Some(match name {
        "MD5" => (32, |b, out| hex(&Md5::digest(b), out)),
        "SHA1" => (40, |b, out| hex(&Sha1::digest(b), out)),
        "SHA224" => (56, |b, out| hex(&Sha224::digest(b), out)),
        "SHA256" => (64, |b, out| hex(&Sha256::digest(b), out)),
        "SHA384" => (96, |b, out| hex(&Sha384::digest(b), out)),
        "SHA512" => (128, |b, out| hex(&Sha512::digest(b), out)),
        _ => return None,
    })
}

fn infer(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.string(0)?;
    let (digits, _) = hash_of(&args.name).ok_or(Refusal::Arguments)?;
    Ok(args.result(TypeKind::Char(digits)))
}

fn build(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (digits, hash) = hash_of(call.name).ok_or_else(|| call.not_executable())?;
    Ok(Box::new(move |args, rows| {
        let bytes = Bytes::new(&args[0])?;
        rows_of_text(rows, rows * digits as usize, |row, out| {
            hash(bytes.get(row)?, out);
            Some(())
        })
    }))
}

fn infer_sha2(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    args.string(0)?;
    args.int(1)?;
    Ok(args.result(TypeKind::Varchar(128)))
}

fn build_sha2(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (bytes, lengths) = (Bytes::new(&args[0])?, Primitives::<Int32Type>::new(&args[1])?);
        let mut failure = None;
        let result = rows_of_text(rows, rows * 64, |row, out| {
            let (bytes, bits) = (bytes.get(row)?, lengths.get(row)?);
            let hash = [224, 256, 384, 512]
                .contains(&bits)
                .then(|| hash_of(&format!("SHA{bits}")))
                .flatten();
            match hash {
                Some((_, hash)) => hash(bytes, out),
                None => {
                    failure = Some(ExprError::Value {
                        function: "SHA2",
                        problem: format!("no digest of {bits} bits; one of 224, 256, 384, 512"),
                    });
                }
            }
            Some(())
        })?;
        failure.map_or(Ok(result), Err)
    }))
}

fn infer_hash_code(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    Ok(args.result(TypeKind::Int))
}

fn build_hash_code(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let values = args[0].array();
        let hashes = hash_columns(std::slice::from_ref(values), values.len()).map_err(|e| ExprError::Kernel {
            function: "$HASH_CODE".to_owned(),
            problem: e.to_string(),
        })?;
        // The upper half: the lower one decides the subtask.
        let codes: Vec<i32> = hashes.iter().map(|hash| (hash >> 33) as i32).collect();
        let column: ArrayRef = Arc::new(Int32Array::new(codes.into(), values.logical_nulls()));
        args[0].with(column).into_column(rows)
    }))
}
