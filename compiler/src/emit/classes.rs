//! The classes of a model as an `enum`, and their number.

use super::Identity;
use super::literal::size;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization;

/// What classes that share a name, or whose name no identifier can be made of, are called: `Class7`.
const UNNAMED: &str = "Class";

/// Identifiers that the `enum` needs for itself.
const TAKEN: &[&str] = &["ALL", "NAMES", "Self"];

/// Number of classes: of a detector what its rows hold, else the names there are.
pub fn count(identity: &Identity) -> usize {
    identity.detector.as_ref().map_or(identity.class_names.len(), |detector| detector.classes)
}

/// The number of classes and, where they have names, the `enum`. A class without a name is called by its number.
pub fn emit(identity: &Identity) -> TokenStream {
    let classes = count(identity);
    let number = size(classes);
    let count = quote! {
        /// Number of classes; 0 when the model does not say.
        #[allow(dead_code)]
        pub const N_CLASSES: usize = #number;
    };
    if classes == 0 || identity.class_names.is_empty() {
        return count;
    }
    let name = |index: usize| identity.class_names.get(index).cloned().unwrap_or_else(|| index.to_string());
    let names: Vec<String> = (0..classes).map(name).collect();
    let variants: Vec<Ident> = variants(&names).iter().map(|v| Ident::new(v, Span::call_site())).collect();
    let docs = names.iter().map(|name| format!(" `{name}`"));
    let runtime: TokenStream = identity.runtime.parse().expect("the runtime's path is valid Rust");
    let first = quote! {
        #count

        /// The classes, in the order of the model.
        #[allow(dead_code, non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class {
            #(#[doc = #docs] #variants),*
        }
    };
    let conversions = conversions(&runtime);
    quote! {
        #first

        #[allow(dead_code)]
        impl Class {
            /// Every class, by its number.
            pub const ALL: [Class; N_CLASSES] = [#(Class::#variants),*];
            /// Their names as the model spells them.
            pub const NAMES: [&'static str; N_CLASSES] = [#(#names),*];

            /// Its number, as in `class_ids` of detections.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// Its name as the model spells it.
            pub const fn name(self) -> &'static str {
                Class::NAMES[self as usize]
            }
        }

        #conversions
    }
}

/// From numbers and names, and to text.
fn conversions(runtime: &TokenStream) -> TokenStream {
    quote! {
        impl TryFrom<usize> for Class {
            type Error = #runtime::engine::UnknownClass;

            fn try_from(index: usize) -> Result<Class, #runtime::engine::UnknownClass> {
                #runtime::engine::UnknownClass::by_index(&Class::ALL, index)
            }
        }

        impl core::str::FromStr for Class {
            type Err = #runtime::engine::UnknownClass;

            fn from_str(name: &str) -> Result<Class, #runtime::engine::UnknownClass> {
                #runtime::engine::UnknownClass::by_name(&Class::ALL, &Class::NAMES, name)
            }
        }

        impl core::fmt::Display for Class {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }
    }
}

/// One identifier per name, no two of them alike: the words of the name, each with a capital.
fn variants(names: &[String]) -> Vec<String> {
    let wished: Vec<String> = names.iter().enumerate().map(|(index, name)| variant(index, name)).collect();
    let mut used: BTreeSet<String> = TAKEN.iter().map(ToString::to_string).collect();
    // The first of those that wish for the same has it; the others take what nobody wishes for.
    let first: Vec<bool> = wished.iter().map(|wish| used.insert(wish.clone())).collect();
    let unlike = |(index, (wish, first)): (usize, (&String, bool))| {
        let mut variant = wish.clone();
        if !first {
            variant = format!("{wish}{UNNAMED}{index}");
            while !used.insert(variant.clone()) {
                variant.push('X');
            }
        }
        variant
    };
    wished.iter().zip(first).enumerate().map(unlike).collect()
}

/// The identifier that a name wishes for.
fn variant(index: usize, name: &str) -> String {
    // Rust compares identifiers in this form.
    let name: String = name.nfc().collect();
    let words = name.split(|c: char| !unicode_ident::is_xid_continue(c) || c == '_').filter(|word| !word.is_empty());
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_uppercase().nfc().collect::<String>()).unwrap_or_default();
        first + letters.as_str()
    };
    let ident: String = words.map(capital).collect::<String>().nfc().collect();
    match ident.chars().next() {
        None => format!("{UNNAMED}{index}"),
        Some(c) if !unicode_ident::is_xid_start(c) => format!("{UNNAMED}{ident}"),
        Some(_) => ident,
    }
}

#[cfg(test)]
mod tests {
    use super::variants;

    fn of(names: &[&str]) -> Vec<String> {
        let variants = variants(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        variants.iter().for_each(|v| assert!(syn::parse_str::<syn::Ident>(v).is_ok(), "{v}"));
        variants
    }

    #[test]
    fn words_become_camel_case() {
        let names = ["person", "traffic light", "T-shirt", "hot_dog", "TV", "  spaced  out ", "tower (old)"];
        assert_eq!(of(&names), ["Person", "TrafficLight", "TShirt", "HotDog", "TV", "SpacedOut", "TowerOld"]);
    }

    #[test]
    fn names_that_are_no_identifiers_have_one_all_the_same() {
        assert_eq!(of(&["2d code", "", "🐶", "42", "-"]), ["Class2dCode", "Class1", "Class2", "Class42", "Class4"]);
        assert_eq!(of(&["über", "人", "кот", "ßs"]), ["Über", "人", "Кот", "SSs"]);
        assert_eq!(
            of(&["self", "ALL", "NAMES", "type", "box"]),
            ["SelfClass0", "ALLClass1", "NAMESClass2", "Type", "Box"]
        );
    }

    #[test]
    fn no_two_are_alike() {
        assert_eq!(of(&["cat", "Cat", "c at", "cat"]), ["Cat", "CatClass1", "CAt", "CatClass3"]);
        // What the second cat would be called is a class of its own.
        assert_eq!(of(&["cat", "cat", "catClass1"]), ["Cat", "CatClass1X", "CatClass1"]);
        // One letter or two: the same identifier.
        assert_eq!(of(&["caf\u{e9}", "cafe\u{301}", "\u{212b}", "\u{c5}"]), ["Café", "CaféClass1", "Å", "ÅClass3"]);
        let many: Vec<String> = (0..1000).map(|_| "x".to_string()).collect();
        let unlike: std::collections::BTreeSet<String> = variants(&many).into_iter().collect();
        assert_eq!(unlike.len(), 1000);
    }
}
