//! `#[state(…)]` in front of a field or variant.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Error, LitStr, Path, Result};

/// How a field is made where state has none.
pub(crate) enum Absent {
    /// As its type says, if it does.
    ByType,
    /// By `Default`.
    Default,
    /// By a function.
    Function(Path),
}

/// What the attributes say.
pub(crate) struct Attributes {
    pub(crate) rename: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) absent: Absent,
    pub(crate) is_skipped: bool,
}

impl Attributes {
    /// Reads them.
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut read = Self {
            rename: None,
            aliases: vec![],
            absent: Absent::ByType,
            is_skipped: false,
        };
        for attribute in attributes.iter().filter(|a| a.path().is_ident("state")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("alias") {
                    read.aliases.push(meta.value()?.parse()?);
                } else if meta.path.is_ident("rename") {
                    read.rename = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("skip") {
                    read.is_skipped = true;
                } else if meta.path.is_ident("default") {
                    read.absent = match meta.input.peek(syn::Token![=]) {
                        true => Absent::Function(meta.value()?.parse()?),
                        false => Absent::Default,
                    };
                } else {
                    return Err(meta.error("not an attribute of state: alias, rename, default and skip are"));
                }
                Ok(())
            })?;
        }
        if read.is_skipped && (read.rename.is_some() || !read.aliases.is_empty()) {
            let attribute = attributes.iter().find(|a| a.path().is_ident("state"));
            let text = "a field that is skipped has no name in state: remove rename and alias";
            return Err(attribute.map_or_else(
                || Error::new(proc_macro2::Span::call_site(), text),
                |a| Error::new_spanned(a, text),
            ));
        }
        Ok(read)
    }

    /// The name in state of what is called `own` in the program.
    pub(crate) fn name(&self, own: &str) -> String {
        self.rename.as_ref().map_or_else(|| own.to_owned(), LitStr::value)
    }

    /// Whether a value can be made where state has none, as a function; `value_type` is the field's.
    pub(crate) fn has_default(&self, value_type: &TokenStream) -> TokenStream {
        match self.absent {
            Absent::ByType => quote!(::flott::state::derived::has_absent::<#value_type>),
            Absent::Default | Absent::Function(_) => quote!(::flott::state::derived::always),
        }
    }

    /// The value where state has none, as an expression.
    pub(crate) fn default_value(&self) -> TokenStream {
        match &self.absent {
            Absent::ByType if self.is_skipped => quote!(::core::default::Default::default()),
            Absent::ByType => quote!(::flott::state::derived::absent()?),
            Absent::Default => quote!(::core::default::Default::default()),
            Absent::Function(path) => quote!(#path()),
        }
    }
}
