//! Rust values as bytes: rows of programs in frames of an exchange, and values in state.
//!
//! Rules: what is read is written, read again and written alike; a value that can be read can be stepped over, and both end at the
//! same byte.

use crate::schema;
use flott::StateValue;
use flott::datastream::{Data, Records};
use flott_core::LogicalType;
use flott_runtime::exchange::{RowsForm, frame};
use flott_state::value::skip_field;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A record of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    Nothing,
    Reading(Option<f64>, char),
    Order {
        id: u64,
        items: Vec<(String, i16)>,
        paid: bool,
    },
}

/// A value of a program's state.
#[derive(Debug, Clone, PartialEq, StateValue)]
struct Account {
    owner: String,
    balance: i64,
    limits: Option<Vec<f64>>,
    notes: BTreeMap<String, Option<bool>>,
}

/// A frame of typed rows: the first byte chooses their type.
pub(crate) fn frames(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    match kind % 5 {
        0 => frames_of::<i64>(body),
        1 => frames_of::<String>(body),
        2 => frames_of::<(Option<u8>, Vec<Vec<u16>>)>(body),
        3 => frames_of::<Event>(body),
        _ => frames_of::<()>(body),
    }
}

fn frames_of<T: Data>(body: &[u8]) {
    let form = RowsForm::Typed(Records::<T>::decode);
    let Ok(element) = frame::decode(body, &form) else {
        return;
    };
    let bytes = frame::encode(&element).expect("what was read can be written");
    let again = frame::decode(&bytes, &form).expect("what we wrote can be read");
    assert_eq!(frame::encode(&again).expect("as before"), bytes);
}

/// A value of state: the first line has a column of the type that was stored, its bytes follow. It is read as every type that takes it.
pub(crate) fn state_value(data: &[u8]) {
    let Some(input) = schema::read(data, "") else { return };
    let [stored] = input.columns.as_slice() else { return };
    let (stored, body) = (&stored.ty, input.body);
    let mut rest = body;
    let skipped = skip_field(stored, &mut rest).ok().map(|()| rest.len());
    let value = Stored {
        ty: stored,
        body,
        skipped,
    };
    value.read_as::<bool>();
    value.read_as::<i64>();
    value.read_as::<u16>();
    value.read_as::<u64>();
    value.read_as::<f32>();
    value.read_as::<f64>();
    value.read_as::<String>();
    value.read_as::<Option<i32>>();
    value.read_as::<Vec<Option<String>>>();
    value.read_as::<Vec<Vec<u8>>>();
    value.read_as::<BTreeMap<String, i64>>();
    value.read_as::<(i32, Option<String>, f64)>();
    value.read_as::<Account>();
    value.read_as::<Vec<Account>>();
}

/// A value as it was stored.
struct Stored<'a> {
    ty: &'a LogicalType,
    body: &'a [u8],
    /// Bytes behind it, if it can be stepped over.
    skipped: Option<usize>,
}

impl Stored<'_> {
    fn read_as<T: StateValue>(&self) {
        if T::check(self.ty).is_err() {
            return;
        }
        let mut rest = self.body;
        let Ok(value) = T::read_field(self.ty, &mut rest) else {
            return;
        };
        assert_eq!(Some(rest.len()), self.skipped, "stepping over it ends elsewhere");
        let mut first = vec![];
        value.write_field(&mut first);
        let own = T::state_type();
        T::check(&own).expect("a type reads what it writes");
        let mut rest = first.as_slice();
        let again = T::read_field(&own, &mut rest).expect("what we wrote can be read");
        assert!(rest.is_empty(), "{} bytes are left", rest.len());
        let mut second = vec![];
        again.write_field(&mut second);
        assert_eq!(first, second, "it is written otherwise");
    }
}
