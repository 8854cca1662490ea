//! `#[derive(Coded)]`: the code of an error, read from the text of its `#[error]` attribute, so
//! that a code is written once and text and code cannot differ.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Ident, LitStr, Member, Result};

/// Implements `rollbook_ledger::error_code::Coded` for an enum or struct that derives
/// `thiserror::Error`. The code of a variant is what its text starts with, `RB-MODULE-n: `; a
/// transparent variant has the code of the error it holds. Any other text does not compile.
#[proc_macro_derive(Coded)]
pub fn derive_coded(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let implemented = syn::parse(input).and_then(|input| implementation(&input));
    implemented.unwrap_or_else(Error::into_compile_error).into()
}

fn implementation(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let arms = match &input.data {
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                let case = &variant.ident;
                arm(&quote!(Self::#case), case, &variant.attrs, &variant.fields)
            })
            .collect::<Result<Vec<_>>>()?,
        Data::Struct(data) => vec![arm(&quote!(Self), name, &input.attrs, &data.fields)?],
        Data::Union(_) => return Err(Error::new_spanned(name, "a union has no code")),
    };
    let (generics, arguments, conditions) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::rollbook_ledger::error_code::Coded for #name #arguments #conditions {
            fn code(&self) -> ::rollbook_ledger::error_code::ErrorCode {
                match self { #(#arms),* }
            }
        }
    })
}

/// One arm of the match over the variants.
fn arm(
    path: &TokenStream,
    case: &Ident,
    attributes: &[Attribute],
    fields: &Fields,
) -> Result<TokenStream> {
    match text(case, attributes)? {
        Some(text) => {
            let written = text.value();
            let code = code(&written).ok_or_else(|| {
                Error::new(text.span(), "the text does not start with `RB-MODULE-n: `")
            })?;
            Ok(quote!(#path { .. } => ::rollbook_ledger::error_code::ErrorCode::new(#code)))
        }
        None => {
            let field: Member = fields
                .members()
                .next()
                .ok_or_else(|| Error::new_spanned(case, "it holds no error to take a code from"))?;
            Ok(quote! {
                #path { #field: held, .. } => ::rollbook_ledger::error_code::Coded::code(held)
            })
        }
    }
}

/// The text of the `#[error]` attribute; `None` if it is transparent.
fn text(case: &Ident, attributes: &[Attribute]) -> Result<Option<LitStr>> {
    let attribute = attributes
        .iter()
        .find(|attribute| attribute.path().is_ident("error"))
        .ok_or_else(|| Error::new_spanned(case, "there is no #[error] to read a code from"))?;
    attribute.parse_args_with(|input: syn::parse::ParseStream<'_>| {
        let text = if input.peek(LitStr) {
            Some(input.parse()?)
        } else {
            let word: Ident = input.parse()?;
            if word != "transparent" {
                return Err(Error::new_spanned(word, "neither a text nor `transparent`"));
            }
            None
        };
        // Arguments of the text.
        input.parse::<TokenStream>()?;
        Ok(text)
    })
}

/// The code that a text starts with: capital letters and a number.
fn code(text: &str) -> Option<&str> {
    let (code, _) = text.split_once(": ")?;
    let (module, number) = code.strip_prefix("RB-")?.split_once('-')?;
    let is_code = !module.is_empty()
        && module.chars().all(|c| c.is_ascii_uppercase())
        && number.parse::<u16>().is_ok_and(|number| number > 0);
    is_code.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn a_code_is_a_module_and_a_number() {
        assert_eq!(code("RB-VIEW-1: gone: {reason}"), Some("RB-VIEW-1"));
        for text in [
            "gone",
            "RB-VIEW-1",
            "RB-VIEW-1 gone: why",
            "RB-VIEW: gone",
            "RB-view-1: gone",
            "RB--1: gone",
            "gone: RB-VIEW-1: why",
        ] {
            assert_eq!(code(text), None, "{text}");
        }
    }
}
