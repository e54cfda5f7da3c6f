//! `#[derive(StateValue)]`.

use crate::attributes::Attributes;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Field, Fields, Index, Member, Result, Variant};

/// The implementation.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let body = match &input.data {
        Data::Struct(data) => of_struct(input, &data.fields)?,
        Data::Enum(data) => of_enum(input, &data.variants.iter().collect::<Vec<_>>())?,
        Data::Union(_) => return Err(Error::new_spanned(&input.ident, "a union cannot be kept in state")),
    };
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(syn::parse_quote!(::flott::StateValue));
    }
    let (implemented, types, wheres) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #implemented ::flott::StateValue for #name #types #wheres {
            #body
        }
    })
}

/// A field that is kept or skipped, with the variable that holds it in the generated code.
struct Part<'a> {
    field: &'a Field,
    attributes: Attributes,
    /// `f0`, `f1`, … for fields without names, as tuples have them.
    name: Ident,
    variable: Ident,
}

/// The fields of a struct or variant.
struct Parts<'a> {
    fields: &'a Fields,
    all: Vec<Part<'a>>,
}

impl<'a> Parts<'a> {
    fn of(fields: &'a Fields) -> Result<Self> {
        let part = |(index, field): (usize, &'a Field)| {
            let name = field.ident.clone().unwrap_or_else(|| format_ident!("f{}", index));
            Ok(Part {
                field,
                attributes: Attributes::read(&field.attrs)?,
                variable: format_ident!("field_{}", index, span = Span::mixed_site()),
                name,
            })
        };
        let all = fields.iter().enumerate().map(part).collect::<Result<_>>()?;
        Ok(Self { fields, all })
    }

    fn kept(&self) -> impl Iterator<Item = &Part<'a>> {
        self.all.iter().filter(|p| !p.attributes.is_skipped)
    }

    /// The members, as an expression.
    fn members(&self) -> TokenStream {
        let members = self.kept().map(|part| {
            let ty = &part.field.ty;
            let name = part.attributes.name(&unraw(&part.name));
            let has_default = part.attributes.has_default(&quote!(#ty));
            member(&name, &part.attributes, &has_default, &quote!(#ty))
        });
        quote!(&[#(#members),*])
    }

    /// A pattern, and an expression, of all fields by their variables.
    fn variables(&self) -> TokenStream {
        let variables = self.all.iter().map(|p| &p.variable);
        match self.fields {
            Fields::Named(_) => {
                let names = self.all.iter().map(|p| &p.name);
                quote!({ #(#names: #variables),* })
            }
            Fields::Unnamed(_) => quote!((#(#variables),*)),
            Fields::Unit => quote!(),
        }
    }

    /// Statements that append the fields, whose variables are references, to `out`.
    fn write(&self) -> TokenStream {
        let variables = self.kept().map(|p| &p.variable);
        let skipped = self.all.iter().filter(|p| p.attributes.is_skipped).map(|p| &p.variable);
        quote! {
            #(::flott::StateValue::write_field(#variables, out);)*
            #(let _ = #skipped;)*
        }
    }

    /// Statements that read `stored` from `bytes` into the variables.
    fn read(&self, members: &TokenStream) -> TokenStream {
        let (variables, types): (Vec<_>, Vec<_>) = self.all.iter().map(|p| (&p.variable, &p.field.ty)).unzip();
        let kept = self.kept().map(|p| &p.variable);
        let places = 0usize..;
        let reads = places.zip(kept).map(|(place, variable)| {
            quote!(#place => #variable = ::core::option::Option::Some(::flott::StateValue::read_field(stored, bytes)?))
        });
        let defaults = self.all.iter().map(|p| p.attributes.default_value());
        quote! {
            #(let mut #variables: ::core::option::Option<#types> = ::core::option::Option::None;)*
            ::flott::state::derived::read_struct(stored, #members, bytes, |place, stored, bytes| {
                match place {
                    #(#reads,)*
                    _ => return ::core::result::Result::Err(::flott::state::DamagedValue),
                }
                ::core::result::Result::Ok(())
            })?;
            #(let #variables = match #variables.take() {
                ::core::option::Option::Some(value) => value,
                ::core::option::Option::None => #defaults,
            };)*
        }
    }

    /// The method that copies field by field, which those that are skipped may not know how to.
    fn copy_from(&self) -> TokenStream {
        if self.all.iter().any(|p| p.attributes.is_skipped) {
            return quote!();
        }
        let members = (0..).zip(&self.all).map(|(index, part)| match &part.field.ident {
            Some(ident) => Member::Named(ident.clone()),
            None => Member::Unnamed(Index::from(index)),
        });
        quote! {
            #[inline]
            fn copy_from(&mut self, other: &Self) {
                #(::flott::StateValue::copy_from(&mut self.#members, &other.#members);)*
            }
        }
    }

    /// Bytes that the fields, whose variables are references, own.
    fn owned_bytes(&self) -> TokenStream {
        let variables = self.kept().map(|p| &p.variable);
        let skipped = self.all.iter().filter(|p| p.attributes.is_skipped).map(|p| &p.variable);
        quote!({ #(let _ = #skipped;)* 0usize #(+ ::flott::StateValue::owned_bytes(#variables))* })
    }
}

/// The name without `r#`.
fn unraw(name: &Ident) -> String {
    name.to_string().trim_start_matches("r#").to_owned()
}

fn member(name: &str, attributes: &Attributes, has_default: &TokenStream, ty: &TokenStream) -> TokenStream {
    let aliases = &attributes.aliases;
    quote! {
        ::flott::state::derived::Member {
            name: #name,
            aliases: &[#(#aliases),*],
            has_default: #has_default,
            ty: <#ty as ::flott::StateValue>::state_type,
            check: <#ty as ::flott::StateValue>::check,
        }
    }
}

/// The methods that do not depend on the form.
fn methods(
    members: &TokenStream,
    check: &TokenStream,
    write: &TokenStream,
    read: &TokenStream,
    owned: &TokenStream,
) -> TokenStream {
    quote! {
        fn state_type() -> ::flott::state::LogicalType {
            ::flott::state::derived::row_type(#members)
        }
        fn check(stored: &::flott::state::LogicalType) -> ::core::result::Result<(), ::std::string::String> {
            ::flott::state::derived::#check(stored, #members)
        }
        fn write(&self, out: &mut ::std::vec::Vec<u8>) {
            #write
        }
        fn read(
            stored: &::flott::state::LogicalType,
            bytes: &mut &[u8],
        ) -> ::core::result::Result<Self, ::flott::state::DamagedValue> {
            #read
        }
        fn owned_bytes(&self) -> usize {
            #owned
        }
    }
}

fn of_struct(input: &DeriveInput, fields: &Fields) -> Result<TokenStream> {
    let parts = Parts::of(fields)?;
    if parts.kept().next().is_none() {
        return Err(Error::new_spanned(
            &input.ident,
            "a struct without fields has nothing to keep in state",
        ));
    }
    let members = parts.members();
    let (variables, write, read, owned) = (
        parts.variables(),
        parts.write(),
        parts.read(&members),
        parts.owned_bytes(),
    );
    let copy_from = parts.copy_from();
    let methods = methods(
        &members,
        &quote!(check_struct),
        &quote! {
            let Self #variables = self;
            #write
        },
        &quote! {
            #read
            ::core::result::Result::Ok(Self #variables)
        },
        &quote! {
            let Self #variables = self;
            #owned
        },
    );
    Ok(quote!(#methods #copy_from))
}

fn of_enum(input: &DeriveInput, variants: &[&Variant]) -> Result<TokenStream> {
    if variants.is_empty() {
        return Err(Error::new_spanned(
            &input.ident,
            "an enum without variants has no value to keep",
        ));
    }
    let mut members = vec![];
    let (mut writes, mut reads, mut owned) = (vec![], vec![], vec![]);
    let count = variants.len();
    for (place, variant) in variants.iter().enumerate() {
        let attributes = Attributes::read(&variant.attrs)?;
        let parts = Parts::of(&variant.fields)?;
        let ident = &variant.ident;
        let variables = parts.variables();
        let name = attributes.name(&unraw(ident));
        let aliases = &attributes.aliases;
        let (ty, check, write, read) = match parts.kept().next() {
            None => (
                quote!(::flott::state::derived::unit_type),
                quote!(<bool as ::flott::StateValue>::check),
                {
                    let unused = parts.write();
                    quote!(#unused ::flott::StateValue::write(&true, out);)
                },
                quote!(<bool as ::flott::StateValue>::read(stored, bytes)?;),
            ),
            Some(_) => {
                let fields = parts.members();
                (
                    quote!(|| ::flott::state::derived::row_type(#fields).with_nullable(true)),
                    quote!(|stored| ::flott::state::derived::check_struct(stored, #fields)),
                    parts.write(),
                    parts.read(&fields),
                )
            }
        };
        // Fields that are skipped only.
        let skipped = match parts.kept().next() {
            None => {
                let (variables, defaults): (Vec<_>, Vec<_>) = parts
                    .all
                    .iter()
                    .map(|p| (&p.variable, p.attributes.default_value()))
                    .unzip();
                quote!(#(let #variables = #defaults;)*)
            }
            Some(_) => quote!(),
        };
        members.push(quote! {
            ::flott::state::derived::Member {
                name: #name,
                aliases: &[#(#aliases),*],
                has_default: ::flott::state::derived::never,
                ty: #ty,
                check: #check,
            }
        });
        writes.push(quote! {
            Self::#ident #variables => ::flott::state::derived::write_enum(#count, #place, out, |out| { #write })
        });
        reads.push(quote! {
            #place => { #read #skipped ::core::result::Result::Ok(Self::#ident #variables) }
        });
        let bytes = parts.owned_bytes();
        owned.push(quote!(Self::#ident #variables => #bytes));
    }
    let members = quote!(&[#(#members),*]);
    Ok(methods(
        &members,
        &quote!(check_enum),
        &quote!(match self { #(#writes,)* }),
        &quote! {
            ::flott::state::derived::read_enum(stored, #members, bytes, |place, stored, bytes| match place {
                #(#reads,)*
                _ => ::core::result::Result::Err(::flott::state::DamagedValue),
            })
        },
        &quote!(match self { #(#owned,)* }),
    ))
}
