//! Plain values as Rust expressions.

use peristyle_runtime::engine::DType;
use peristyle_runtime::kernels::Activation;
use peristyle_runtime::kernels::conv::StoreTo;
use peristyle_runtime::kernels::map::Map;
use peristyle_runtime::kernels::strided::{Base, BinaryFn, UnaryFn, View};
use peristyle_runtime::simd::math::Quantizer;
use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// An `f32` that reads back to the same bits.
pub fn float(value: f32) -> TokenStream {
    if value.is_finite() {
        let literal = Literal::f32_unsuffixed(value.abs());
        if value.is_sign_negative() { quote!(-#literal) } else { quote!(#literal) }
    } else if value.is_nan() {
        quote!(f32::NAN)
    } else if value > 0.0 {
        quote!(f32::INFINITY)
    } else {
        quote!(f32::NEG_INFINITY)
    }
}

/// Bytes as text.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A borrowed slice of `f32`.
pub fn floats(values: &[f32]) -> TokenStream {
    let values = values.iter().map(|&v| float(v));
    quote!(Cow::Borrowed(&[#(#values),*]))
}

/// A borrowed slice of `i32`.
pub fn integers(values: &[i32]) -> TokenStream {
    let values = values.iter().map(|&v| Literal::i32_unsuffixed(v));
    quote!(Cow::Borrowed(&[#(#values),*]))
}

/// An array of sizes.
pub fn sizes(values: &[usize]) -> TokenStream {
    let values = values.iter().map(|&v| Literal::usize_unsuffixed(v));
    quote!([#(#values),*])
}

/// An unsuffixed size.
pub fn size(value: usize) -> Literal {
    Literal::usize_unsuffixed(value)
}

/// An element type.
pub fn dtype(dtype: DType) -> TokenStream {
    match dtype {
        DType::F32 => quote!(DType::F32),
        DType::U8 => quote!(DType::U8),
    }
}

/// A feature map.
pub fn map(map: &Map) -> TokenStream {
    let dtype = dtype(map.dtype);
    let [offset, channels, height, width, row, plane] =
        [map.offset, map.channels, map.height, map.width, map.row, map.plane].map(size);
    let (split, pad) = (sizes(&map.split), sizes(&map.pad));
    let pad_value = Literal::u8_unsuffixed(map.pad_value);
    quote! {
        Map {
            dtype: #dtype, offset: #offset, channels: #channels, height: #height, width: #width,
            split: #split, row: #row, plane: #plane, pad: #pad, pad_value: #pad_value,
        }
    }
}

/// A borrowed slice of maps.
pub fn maps(maps: &[Map]) -> TokenStream {
    let maps = maps.iter().map(map);
    quote!(Cow::Borrowed(&[#(#maps),*]))
}

/// A quantiser.
pub fn quantizer(quantizer: Quantizer) -> TokenStream {
    let (scale, zero) = (float(quantizer.scale()), Literal::u8_unsuffixed(quantizer.zero()));
    quote!(Quantizer::new(#scale, #zero))
}

/// A borrowed slice of destinations.
pub fn stores(stores: &[StoreTo]) -> TokenStream {
    let stores = stores.iter().map(|store| {
        let (map, quantizer) = (map(&store.map), quantizer(store.quantizer));
        quote!(StoreTo { map: #map, quantizer: #quantizer })
    });
    quote!(Cow::Borrowed(&[#(#stores),*]))
}

/// A strided view.
pub fn view(view: &View) -> TokenStream {
    let base = match &view.base {
        Base::Arena => quote!(Base::Arena),
        Base::Input(index) => {
            let index = size(*index);
            quote!(Base::Input(#index))
        }
        Base::Output(index) => {
            let index = size(*index);
            quote!(Base::Output(#index))
        }
        Base::Constant(values) => {
            let values = floats(values);
            quote!(Base::Constant(#values))
        }
    };
    let (dtype, offset) = (dtype(view.dtype), size(view.offset));
    let (shape, strides) = (sizes(&view.shape), sizes(&view.strides));
    quote!(View { base: #base, dtype: #dtype, offset: #offset, shape: #shape, strides: #strides })
}

/// An elementwise function.
pub fn activation(activation: Activation) -> TokenStream {
    match activation {
        Activation::Identity => quote!(Activation::Identity),
        Activation::Relu => quote!(Activation::Relu),
        Activation::LeakyRelu { alpha } => {
            let alpha = float(alpha);
            quote!(Activation::LeakyRelu { alpha: #alpha })
        }
        Activation::Silu => quote!(Activation::Silu),
        Activation::Sigmoid => quote!(Activation::Sigmoid),
        Activation::HardSwish => quote!(Activation::HardSwish),
        Activation::HardSigmoid { alpha, beta } => {
            let (alpha, beta) = (float(alpha), float(beta));
            quote!(Activation::HardSigmoid { alpha: #alpha, beta: #beta })
        }
        Activation::Clip { lo, hi } => {
            let (lo, hi) = (float(lo), float(hi));
            quote!(Activation::Clip { lo: #lo, hi: #hi })
        }
    }
}

/// The function of a unary layer.
pub fn unary(function: UnaryFn) -> TokenStream {
    match function {
        UnaryFn::Copy => quote!(UnaryFn::Copy),
        UnaryFn::Activation(f) => {
            let f = activation(f);
            quote!(UnaryFn::Activation(#f))
        }
        UnaryFn::Quantize(q) => {
            let q = quantizer(q);
            quote!(UnaryFn::Quantize(#q))
        }
        UnaryFn::Dequantize { scale, zero } => {
            let (scale, zero) = (float(scale), Literal::u8_unsuffixed(zero));
            quote!(UnaryFn::Dequantize { scale: #scale, zero: #zero })
        }
    }
}

/// The function of a binary layer.
pub fn binary(function: BinaryFn) -> TokenStream {
    let name = proc_macro2::Ident::new(&format!("{function:?}"), proc_macro2::Span::call_site());
    quote!(BinaryFn::#name)
}
