//! One module per layer: its constants, its tables, its declaration of unrolled kernels.

use super::literal::{self, size};
use super::{Identity, Package, kernel, unrolled};
use crate::plan::{Note, Plan};
use peristyle_runtime::engine::{Kind, Layer};
use peristyle_runtime::kernels::conv::{
    Arithmetic, Blocking, Conv, Group, Panels, Residual, ResidualAt, Segment, Table, Winograd,
};
use peristyle_runtime::kernels::detect_head::DetectHead;
use peristyle_runtime::simd::Isa;
use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Module names by order and source name: `l017_model_6_m_0_cv2`.
pub fn module_names(plan: &Plan) -> Vec<String> {
    let name = |(index, layer): (usize, &Layer)| {
        let mut words: Vec<String> = layer
            .name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        // `/model.6/m/m.0/cv2/conv/Conv`: the repetition and the operator at the end carry nothing.
        words.retain(|w| w != "conv" && w != "output");
        words.dedup();
        words.truncate(8);
        // Names of any length must make file names; these are ASCII, so any cut is at a character.
        let mut words = words.join("_");
        words.truncate(64);
        format!("l{index:03}_{words}").trim_end_matches('_').to_string()
    };
    plan.layers.iter().enumerate().map(name).collect()
}

/// Emits the module of a layer and the files it includes.
pub fn emit(plan: &Plan, identity: &Identity, index: usize, name: &str, package: &mut Package) {
    let (layer, note) = (&plan.layers[index], &plan.notes[index]);
    let prefix = kernel_prefix(&layer.kind);
    let symbol = |group: usize| format!("peristyle_{prefix}_l{index:03}_g{group}");
    let mut imports = BTreeSet::from(["engine::{Cow, Kind, Layer, LayerInfo}"]);
    let (before, kind) = kind(plan, index, name, &symbol, &mut imports, package);
    if let (Kind::Conv(conv), true) = (&layer.kind, unrolled(plan, index)) {
        let header = super::entry::header(identity);
        package.insert(format!("{name}.S"), kernel::assembly(conv, &header, symbol));
    }
    let onnx_name = &layer.name;
    if !layer.pads.is_empty() {
        imports.extend(["kernels::map::Map", "engine::DType"]);
    }
    let pads = literal::maps(&layer.pads);
    if layer.info.window.is_some() {
        imports.insert("engine::Window");
    }
    let info = super::info::emit(&layer.info);
    let uses = uses(&identity.runtime, &imports);
    let docs = docs(layer, note, layer.widest_isa());
    let doc_lines = docs.iter().map(|d| quote!(#![doc = #d]));
    let tokens = quote! {
        #(#doc_lines)*
        #uses
        #before
        /// The layer.
        pub static LAYER: Layer = Layer { name: Cow::Borrowed(#onnx_name), pads: #pads, info: #info, kind: #kind };
    };
    let header = super::entry::header(identity);
    package.insert(format!("{name}.rs"), super::entry::format(identity, &header, &tokens));
}

/// Identifies the code of a layer's kernels: two models in one binary share a symbol only when its code is the same.
fn kernel_prefix(kind: &Kind) -> String {
    let Kind::Conv(conv) = kind else { return String::new() };
    let hash = Sha256::new()
        .chain_update(Blob::new(conv).bytes)
        .chain_update(conv.accumulator_stride().to_le_bytes())
        .finalize();
    super::hexadecimal(&hash[..8])
}

fn uses(runtime: &str, imports: &BTreeSet<&str>) -> TokenStream {
    let lines = (imports.iter())
        .map(|path| format!("use {runtime}::{path};").parse::<TokenStream>().expect("imports are valid Rust"));
    quote!(#(#lines)*)
}

/// `widest` is the best instruction set that the layer has its tables for.
fn docs(layer: &Layer, note: &Note, widest: Isa) -> Vec<String> {
    let summary = match note.summary.split_once(": ") {
        Some((op, types)) => format!(" {op}: `{types}`"),
        None => format!(" {}", note.summary),
    };
    let mut lines = vec![format!(" `{}`", layer.name), String::new(), summary];
    if let Some(conv) = &note.conv {
        let s = conv.sparsity;
        lines.push(String::new());
        lines.push(format!(
            " {} of {} weights are not zero (density {:.3}, {}); {:.2} of {:.2} million multiply-accumulates remain.",
            s.nnz,
            s.weights,
            s.density(),
            s.pattern,
            conv.nnz_macs as f64 / 1e6,
            conv.macs as f64 / 1e6,
        ));
        let mut last = "";
        for (isa, spelled) in [(Isa::Avx2, "AVX2"), (Isa::AvxVnni, "AVX-VNNI"), (Isa::Avx512, "AVX-512")] {
            let kernel = conv.choice.kernel(isa).name;
            if isa <= widest && kernel != last {
                let reason = conv.choice.reason(isa);
                lines.extend([String::new(), format!(" Kernel with {spelled}: `{kernel}`: {reason}.")]);
            }
            last = kernel;
        }
    }
    lines
}

type Symbol<'a> = &'a dyn Fn(usize) -> String;

/// Items before the layer, and the expression of its kind.
fn kind(
    plan: &Plan,
    index: usize,
    name: &str,
    symbol: Symbol<'_>,
    imports: &mut BTreeSet<&'static str>,
    package: &mut Package,
) -> (TokenStream, TokenStream) {
    let nothing = TokenStream::new();
    let two = |a, b| (literal::sizes(a), literal::sizes(b));
    match &plan.layers[index].kind {
        Kind::Conv(conv) => {
            imports.extend([
                "engine::DType",
                "kernels::Activation",
                "kernels::conv::{Aligned, Arithmetic, Blocking, Conv, Epilogue, Group, StoreTo, Table}",
                "kernels::map::Map",
                "simd::math::Quantizer",
            ]);
            if unrolled(plan, index) {
                imports.insert("{declare_unrolled, unrolled}");
            }
            if conv.panels.is_some() {
                imports.extend(["kernels::conv::PanelTile", "kernels::conv::Panels"]);
            }
            if conv.winograd.is_some() {
                imports.insert("kernels::conv::Winograd");
            }
            if conv.epilogue.residual.is_some() {
                imports.insert("kernels::conv::{Residual, ResidualAt}");
            }
            self::conv(conv, unrolled(plan, index).then_some(symbol), name, package)
        }
        Kind::LoadInput(load) => {
            imports.extend([
                "engine::DType",
                "kernels::conv::StoreTo",
                "kernels::map::Map",
                "kernels::transfer::LoadInput",
                "simd::math::Quantizer",
            ]);
            let (input, dtype, stores) = (size(load.input), literal::dtype(load.dtype), literal::stores(&load.stores));
            (nothing, quote!(Kind::LoadInput(LoadInput { input: #input, dtype: #dtype, stores: #stores })))
        }
        Kind::CopyMap(copy) => {
            imports.extend(["engine::DType", "kernels::map::Map", "kernels::transfer::CopyMap"]);
            let (from, to) = (literal::map(&copy.from), literal::map(&copy.to));
            (nothing, quote!(Kind::CopyMap(CopyMap { from: #from, to: #to })))
        }
        Kind::MaxPool(pool) => {
            imports.extend(["engine::DType", "kernels::map::Map", "kernels::pool::MaxPool"]);
            let (input, output) = (literal::map(&pool.input), literal::map(&pool.output));
            let (kernel, stride) = two(&pool.kernel, &pool.stride);
            let pad = literal::sizes(&pool.pad);
            let fields = quote!(input: #input, output: #output, kernel: #kernel, stride: #stride, pad: #pad);
            (nothing, quote!(Kind::MaxPool(MaxPool { #fields })))
        }
        Kind::AveragePool(pool) => {
            imports.extend(["engine::DType", "kernels::map::Map", "kernels::pool::AveragePool"]);
            let (input, output) = (literal::map(&pool.input), literal::map(&pool.output));
            let (kernel, stride) = two(&pool.kernel, &pool.stride);
            let (pad, count) = (literal::sizes(&pool.pad), pool.count_include_pad);
            let fields = quote! {
                input: #input, output: #output, kernel: #kernel, stride: #stride, pad: #pad, count_include_pad: #count
            };
            (nothing, quote!(Kind::AveragePool(AveragePool { #fields })))
        }
        Kind::Resize(resize) => {
            imports.extend(["engine::DType", "kernels::map::Map", "kernels::pool::Resize"]);
            let (input, output) = (literal::map(&resize.input), literal::map(&resize.output));
            let scale = literal::sizes(&resize.scale);
            (nothing, quote!(Kind::Resize(Resize { input: #input, output: #output, scale: #scale })))
        }
        Kind::DetectHead(head) => {
            imports.extend([
                "engine::DType",
                "kernels::detect_head::{DetectHead, Level}",
                "kernels::map::Map",
                "kernels::strided::{Base, View}",
            ]);
            (nothing, detect_head(head))
        }
        strided => {
            imports.insert("engine::DType");
            (nothing, self::strided(strided, imports))
        }
    }
}

fn strided(kind: &Kind, imports: &mut BTreeSet<&'static str>) -> TokenStream {
    match kind {
        Kind::Unary(unary) => {
            imports.insert("kernels::strided::{Base, Unary, UnaryFn, View}");
            if matches!(unary.function, peristyle_runtime::kernels::strided::UnaryFn::Quantize(_)) {
                imports.insert("simd::math::Quantizer");
            }
            if matches!(unary.function, peristyle_runtime::kernels::strided::UnaryFn::Activation(_)) {
                imports.insert("kernels::Activation");
            }
            let (x, y, function) = (literal::view(&unary.x), literal::view(&unary.y), literal::unary(unary.function));
            quote!(Kind::Unary(Unary { x: #x, y: #y, function: #function }))
        }
        Kind::Binary(binary) => {
            imports.insert("kernels::strided::{Base, Binary, BinaryFn, View}");
            let (a, b, y) = (literal::view(&binary.a), literal::view(&binary.b), literal::view(&binary.y));
            let function = literal::binary(binary.function);
            quote!(Kind::Binary(Binary { a: #a, b: #b, y: #y, function: #function }))
        }
        Kind::Softmax(softmax) => {
            imports.insert("kernels::strided::{Base, Softmax, View}");
            let (x, y, axis) = (literal::view(&softmax.x), literal::view(&softmax.y), size(softmax.axis));
            quote!(Kind::Softmax(Softmax { x: #x, y: #y, axis: #axis }))
        }
        Kind::MatMul(product) => {
            imports.insert("kernels::strided::{Base, MatMul, View}");
            let (a, b, y) = (literal::view(&product.a), literal::view(&product.b), literal::view(&product.y));
            quote!(Kind::MatMul(MatMul { a: #a, b: #b, y: #y }))
        }
        _ => unreachable!("every other kind is handled by `kind`"),
    }
}

fn detect_head(head: &DetectHead) -> TokenStream {
    let outputs = size(head.outputs);
    let y = literal::view(&head.y);
    let levels = head.levels.iter().map(|level| {
        let (map, stride) = (literal::map(&level.map), literal::float(level.stride));
        let anchors = level.anchors.iter().map(|[w, h]| {
            let (w, h) = (literal::float(*w), literal::float(*h));
            quote!([#w, #h])
        });
        quote!(Level { map: #map, stride: #stride, anchors: Cow::Borrowed(&[#(#anchors),*]) })
    });
    quote! {
        Kind::DetectHead(DetectHead { outputs: #outputs, levels: Cow::Borrowed(&[#(#levels),*]), y: #y })
    }
}

fn conv(conv: &Conv, symbol: Option<Symbol<'_>>, name: &str, package: &mut Package) -> (TokenStream, TokenStream) {
    let Blob { bytes, table, quads, unrolled, packed } = Blob::new(conv);
    let length = size(bytes.len());
    let file = format!("{name}.bin");
    package.insert(file.as_str(), bytes);
    let externs = symbol.map(|symbol| externs(conv, symbol));
    let declare = |name: &str, groups: &[Group], symbol: Option<Symbol<'_>>| {
        let (name, groups) = (format_ident!("{name}"), groups.iter().enumerate().map(|(i, g)| group(g, i, symbol)));
        quote!(static #name: &[Group] = &[#(#groups),*];)
    };
    let groups = declare("GROUPS", &conv.table.groups, symbol.filter(|_| conv.unrolled.is_none()));
    let quad_groups = conv.quads.as_ref().map(|quads| declare("QUAD_GROUPS", &quads.groups, None));
    let unrolled_groups = conv.unrolled.as_ref().map(|table| declare("UNROLLED_GROUPS", &table.groups, symbol));
    let before = quote! {
        #externs
        static TABLE: &Aligned<[u8; #length]> = &Aligned(*include_bytes!(#file));
        #groups
        #quad_groups
        #unrolled_groups
    };
    let table = table.expression("GROUPS");
    let optional = |parts: Option<Parts>, groups: &str| match parts.map(|parts| parts.expression(groups)) {
        Some(table) => quote!(Some(#table)),
        None => quote!(None),
    };
    let (quads, unrolled) = (optional(quads, "QUAD_GROUPS"), optional(unrolled, "UNROLLED_GROUPS"));
    let (at, count) = (size(packed.0), size(packed.1));
    let arithmetic = match conv.arithmetic {
        Arithmetic::F32 => quote!(Arithmetic::F32),
        Arithmetic::U8S8 => quote!(Arithmetic::U8S8),
    };
    let panels = match conv.panels {
        Some(Panels { rows, tile }) => {
            let rows = size(rows);
            let tile = format_ident!("{tile:?}");
            quote!(Some(Panels { rows: #rows, tile: PanelTile::#tile }))
        }
        None => quote!(None),
    };
    let winograd = match conv.winograd {
        Some(Winograd { tile_rows, pad }) => {
            let (tile_rows, pad) = (size(tile_rows), literal::sizes(&pad));
            quote!(Some(Winograd { tile_rows: #tile_rows, pad: #pad }))
        }
        None => quote!(None),
    };
    let input = literal::map(&conv.input);
    let [height, width] = [conv.out_height, conv.out_width].map(size);
    let Blocking { chunk_tiles, pass_tiles, outputs, prefetch } = conv.blocking;
    let [chunk, pass, outputs] = [chunk_tiles, pass_tiles, outputs].map(size);
    let epilogue = epilogue(conv);
    let kind = quote! {
        Kind::Conv(Conv {
            arithmetic: #arithmetic,
            input: #input,
            out_height: #height,
            out_width: #width,
            table: #table,
            quads: #quads,
            unrolled: #unrolled,
            packed: Cow::Borrowed(TABLE.offsets(#at, #count)),
            panels: #panels,
            winograd: #winograd,
            blocking: Blocking { chunk_tiles: #chunk, pass_tiles: #pass, outputs: #outputs, prefetch: #prefetch },
            epilogue: #epilogue,
        })
    };
    (before, kind)
}

fn group(group: &Group, index: usize, symbol: Option<Symbol<'_>>) -> TokenStream {
    let outputs = group.outputs.iter().map(|&o| Literal::u16_unsuffixed(o));
    let (first, count) = group.segments;
    let [first, count, offset, weight] = [first, count, group.offset, group.weight].map(Literal::u32_unsuffixed);
    let kernel = match symbol {
        Some(symbol) => {
            let name = Ident::new(&symbol(index), Span::call_site());
            quote!(unrolled!(#name))
        }
        None => quote!(None),
    };
    quote!(Group::new(&[#(#outputs),*], (#first, #count), #offset, #weight, #kernel))
}

fn externs(conv: &Conv, symbol: Symbol<'_>) -> TokenStream {
    let names = (0..kernel::source(conv).groups.len()).map(|g| format_ident!("{}", symbol(g)));
    quote!(declare_unrolled!(#(#names)*);)
}

fn epilogue(conv: &Conv) -> TokenStream {
    let e = &conv.epilogue;
    let (acc_bias, scale, bias) = (literal::integers(&e.acc_bias), literal::floats(&e.scale), literal::floats(&e.bias));
    let (activation, stores) = (literal::activation(e.activation), literal::stores(&e.stores));
    let residual = match &e.residual {
        None => quote!(None),
        Some(Residual { map, at }) => {
            let map = literal::map(map);
            let at = match at {
                ResidualAt::BeforeActivation => quote!(ResidualAt::BeforeActivation),
                ResidualAt::AfterActivation => quote!(ResidualAt::AfterActivation),
            };
            quote!(Some(Residual { map: #map, at: #at }))
        }
    };
    quote! {
        Epilogue {
            acc_bias: #acc_bias, scale: #scale, bias: #bias,
            activation: #activation, residual: #residual, stores: #stores,
        }
    }
}

/// The tables of a layer as one file, and where its parts lie in it.
struct Blob {
    bytes: Vec<u8>,
    table: Parts,
    quads: Option<Parts>,
    unrolled: Option<Parts>,
    packed: (usize, usize),
}

/// The outputs of a table's groups; first byte and count of its segments, offsets and weights.
struct Parts(usize, [(usize, usize); 3]);

impl Blob {
    fn new(conv: &Conv) -> Blob {
        let mut bytes = Vec::new();
        let table = Parts::append(&mut bytes, &conv.table);
        let quads = conv.quads.as_ref().map(|quads| Parts::append(&mut bytes, quads));
        let unrolled = conv.unrolled.as_ref().map(|table| Parts::append_weights(&mut bytes, table));
        let packed = (align(&mut bytes), conv.packed.len());
        conv.packed.iter().for_each(|o| bytes.extend(o.to_le_bytes()));
        Blob { bytes, table, quads, unrolled, packed }
    }
}

/// Fills up the last cache line and returns the new length.
fn align(bytes: &mut Vec<u8>) -> usize {
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    bytes.len()
}

impl Parts {
    fn append(bytes: &mut Vec<u8>, table: &Table) -> Parts {
        let segments = (align(bytes), table.segments.len());
        for &Segment { mask, block, count } in table.segments.iter() {
            bytes.extend([mask, block]);
            bytes.extend(count.to_le_bytes());
        }
        let offsets = (align(bytes), table.offsets.len());
        table.offsets.iter().for_each(|o| bytes.extend(o.to_le_bytes()));
        let Parts(group, [_, _, weights]) = Parts::append_weights(bytes, table);
        Parts(group, [segments, offsets, weights])
    }

    /// The weights alone: straight-line code holds the rest.
    fn append_weights(bytes: &mut Vec<u8>, table: &Table) -> Parts {
        let weights = (align(bytes), table.weights.len());
        table.weights.iter().for_each(|w| bytes.extend(w.to_le_bytes()));
        Parts(table.group, [(0, 0), (0, 0), weights])
    }

    fn expression(&self, groups: &str) -> TokenStream {
        let groups = format_ident!("{groups}");
        let [(segments, segment_count), (offsets, offset_count), (weights, weight_count)] =
            self.1.map(|(at, count)| (size(at), size(count)));
        let group = size(self.0);
        quote! {
            Table {
                group: #group,
                groups: Cow::Borrowed(#groups),
                segments: Cow::Borrowed(TABLE.segments(#segments, #segment_count)),
                offsets: Cow::Borrowed(TABLE.offsets(#offsets, #offset_count)),
                weights: Cow::Borrowed(TABLE.words(#weights, #weight_count)),
            }
        }
    }
}
