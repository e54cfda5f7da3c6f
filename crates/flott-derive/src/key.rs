//! `#[derive(Key)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Index, Member, Result};

/// The implementation.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let body = match &input.data {
        Data::Struct(data) => of_struct(input, &data.fields)?,
        Data::Enum(_) | Data::Union(_) => {
            let text = "only structs derive Key: key by something that tells the variants apart";
            return Err(Error::new_spanned(&input.ident, text));
        }
    };
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(syn::parse_quote!(::flott::Key));
    }
    let (implemented, types, wheres) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #implemented ::flott::Key for #name #types #wheres {
            #body
        }
    })
}

fn of_struct(input: &DeriveInput, fields: &Fields) -> Result<TokenStream> {
    if fields.is_empty() {
        return Err(Error::new_spanned(
            &input.ident,
            "a struct without fields tells no records apart",
        ));
    }
    let members: Vec<Member> = (0..)
        .zip(fields)
        .map(|(i, field)| match &field.ident {
            Some(ident) => Member::Named(ident.clone()),
            None => Member::Unnamed(Index::from(i)),
        })
        .collect();
    let types: Vec<_> = fields.iter().map(|f| &f.ty).collect();
    Ok(quote! {
        fn types() -> ::std::vec::Vec<::flott::state::LogicalType> {
            let mut types = ::std::vec::Vec::new();
            #(types.extend(<#types as ::flott::Key>::types());)*
            types
        }
        fn columns<'a>(
            keys: impl ::core::iter::Iterator<Item = &'a Self> + ::core::clone::Clone,
        ) -> ::std::vec::Vec<::flott::state::ArrayRef>
        where
            Self: 'a,
        {
            let mut columns = ::std::vec::Vec::new();
            #(columns.extend(<#types as ::flott::Key>::columns(keys.clone().map(|key| &key.#members)));)*
            columns
        }
        fn from_columns<'c>(
            columns: &mut impl ::core::iter::Iterator<Item = &'c ::flott::state::ArrayRef>,
            row: usize,
        ) -> Self {
            Self { #(#members: <#types as ::flott::Key>::from_columns(columns, row),)* }
        }
    })
}
