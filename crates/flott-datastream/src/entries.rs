//! Operator state as bytes: a value with its type, so that later programs can read it.
//!
//! An entry is `1` (the version), the length of the type (4 bytes), the type as JSON, the value in the form of [`flott_state::value`].

use bytes::Bytes;
use flott_core::LogicalType;
use flott_runtime::TaskError;
use flott_state::StateValue;

/// Version of the form of an entry.
const VERSION: u8 = 1;

/// The entry of a value.
///
/// # Errors
/// If its type cannot be described.
pub(crate) fn write_entry<V: StateValue>(value: &V) -> Result<Bytes, TaskError> {
    let ty = serde_json::to_vec(&V::state_type())
        .map_err(|e| TaskError::internal(format!("a type of state cannot be written: {e}")))?;
    let mut out = vec![VERSION];
    out.extend_from_slice(&(ty.len() as u32).to_le_bytes());
    out.extend_from_slice(&ty);
    value.write(&mut out);
    Ok(out.into())
}

/// The value of an entry; `what` names the state, for errors.
///
/// # Errors
/// If the bytes are damaged, or of a type that is not read as `V`.
pub(crate) fn read_entry<V: StateValue>(what: &str, bytes: &[u8]) -> Result<V, TaskError> {
    let refuse = |reason: String| TaskError::user(format!("{what} cannot be restored: {reason}")).fatal();
    let damaged = || refuse("its bytes are damaged".to_owned());
    let (version, rest) = bytes.split_first().ok_or_else(damaged)?;
    if *version != VERSION {
        return Err(refuse(format!(
            "it has version {version}, and this build reads {VERSION}"
        )));
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let split = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
    let (ty, mut values) = split.ok_or_else(damaged)?;
    let stored: LogicalType = serde_json::from_slice(ty).map_err(|_| damaged())?;
    V::check(&stored).map_err(refuse)?;
    let value = V::read(&stored, &mut values).map_err(|e| refuse(e.to_string()))?;
    match values.is_empty() {
        true => Ok(value),
        false => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back_and_damage_is_named() {
        let value = vec![(Some(7i64), "a".to_owned()), (None, "b".to_owned())];
        let bytes = write_entry(&value).unwrap();
        let read = |bytes: &[u8]| read_entry::<Vec<(Option<i64>, String)>>("the state 'x'", bytes);
        assert_eq!(read(&bytes).unwrap(), value);
        for cut in 0..bytes.len() {
            let error = read(&bytes[..cut]).unwrap_err().to_string();
            assert!(error.contains("the state 'x' cannot be restored"), "{error}");
        }
        assert!(read(&[&bytes[..], &[0]].concat()).is_err());
        let other = read_entry::<i64>("x", &bytes).unwrap_err().to_string();
        assert!(other.contains("and is now"), "{other}");
    }
}
