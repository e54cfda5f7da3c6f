//! The derives of DataStream programs, re-exported by `flott`, whose paths they write.
//!
//! ```ignore
//! #[derive(Clone, StateValue)]
//! struct Visit {
//!     website: String,
//!     #[state(alias = "clicks")]
//!     count: i64,
//!     #[state(default)]
//!     region: String,
//! }
//! ```
//! The functions that the implementations call are in `flott-state/src/derived.rs`; here is only what needs the syntax.

mod attributes;
mod key;
mod state_value;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or an enum a value of state: a row of its fields by name, which later versions of the type can read.
///
/// Fields may be private. A field that is gone is passed over; the type of one may change as its own implementation allows
/// (integers may become wider, a value may become an `Option`). Attributes of a field, or of a variant, in `#[state(…)]`:
///
/// * `alias = "old"`: state that earlier programs kept under another name; may be repeated;
/// * `rename = "name"`: its name in state, if not the field's own;
/// * `default`, `default = path`: how to make the field where state has none: by `Default`, or by a function. An `Option` is `None`;
/// * `skip`: it is not kept, and made by `Default` (or by `default = path`) whenever the value comes back from elsewhere than memory: from
///   a checkpoint, or from disk under a backend that leaves values there.
#[proc_macro_derive(StateValue, attributes(state))]
pub fn state_value(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    state_value::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a struct of keys a key: `key_by(|click| Place { city: click.city.clone(), street: click.street })`.
#[proc_macro_derive(Key)]
pub fn key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    key::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
