//! What a layer says about itself, as Rust.

use super::literal::sizes;
use peristyle_runtime::engine::{LayerInfo, Shape, Window};
use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// The facts of a layer.
pub fn emit(info: &LayerInfo) -> TokenStream {
    let LayerInfo { op, inputs, outputs, window, weights, weight_bits, macs, kernel, reason } = info;
    let (inputs, outputs) = (shapes(inputs), shapes(outputs));
    let (weights, macs) = (pair(*weights), pair(*macs));
    let weight_bits = Literal::u32_unsuffixed(*weight_bits);
    let window = match window {
        None => quote!(None),
        Some(Window { size, stride }) => {
            let (size, stride) = (sizes(size), sizes(stride));
            quote!(Some(Window { size: #size, stride: #stride }))
        }
    };
    quote! {
        LayerInfo {
            op: Cow::Borrowed(#op), inputs: #inputs, outputs: #outputs, window: #window,
            weights: #weights, weight_bits: #weight_bits, macs: #macs,
            kernel: Cow::Borrowed(#kernel), reason: Cow::Borrowed(#reason),
        }
    }
}

fn shapes(shapes: &[Shape]) -> TokenStream {
    let shapes = shapes.iter().map(|shape| {
        let shape = sizes(shape);
        quote!(Cow::Borrowed(&#shape))
    });
    quote!(Cow::Borrowed(&[#(#shapes),*]))
}

/// All, and those that are not zero.
pub fn pair((all, nonzero): (u64, u64)) -> TokenStream {
    let (all, nonzero) = (Literal::u64_unsuffixed(all), Literal::u64_unsuffixed(nonzero));
    quote!((#all, #nonzero))
}
