//! Programs with damaged fields: an engine refuses them instead of leaving its memory.

mod models;

use peristyle_compiler::ir::{Data, Graph};
use peristyle_compiler::passes;
use peristyle_compiler::plan::{self, KernelUse, Options};
use peristyle_runtime::engine::{Engine, Kind, Layer, Program, Step};
use peristyle_runtime::kernels::conv::{Conv, Group, PanelTile, Segment, Table};
use peristyle_runtime::kernels::strided::Base;
use std::sync::Arc;

fn program(case: &str) -> &'static Program {
    planned(case, KernelUse::Never)
}

fn planned(case: &str, panels: KernelUse) -> &'static Program {
    built(graph(case), panels)
}

/// The case with panels, and zeros for weights of convolutions with these numbers.
fn thinned(case: &str, is_zero: impl Fn(usize) -> bool) -> &'static Program {
    let mut graph = graph(case);
    for value in &mut graph.values {
        let Some(tensor) = value.constant.as_mut().filter(|tensor| tensor.shape.len() == 4) else { continue };
        let Data::F32(weights) = &mut Arc::make_mut(tensor).data else { continue };
        weights.iter_mut().enumerate().filter(|(i, _)| is_zero(*i)).for_each(|(_, weight)| *weight = 0.0);
    }
    built(graph, KernelUse::Possible)
}

fn graph(case: &str) -> Graph {
    let corpus = models::corpus();
    let (_, graph) = corpus.iter().find(|(name, _)| name == case).expect("the case is in the corpus");
    graph.clone()
}

fn built(mut graph: Graph, panels: KernelUse) -> &'static Program {
    passes::run(&mut graph).unwrap_or_else(|e| panic!("{e}"));
    let options = Options { panels, ..Options::default() };
    plan::build(&graph, &options).unwrap_or_else(|e| panic!("{e}")).leak()
}

fn refused(program: Program) -> String {
    let engine = Engine::new(Box::leak(Box::new(program)), 1).map(drop);
    engine.expect_err("the program is damaged").to_string()
}

/// Refuses the program after `damage` to the first layer for which it returns true.
fn damaged(sound: &Program, damage: impl Fn(&mut Layer) -> bool) -> String {
    let mut layers: Vec<Layer> = sound.layers.iter().map(|&layer| layer.clone()).collect();
    assert!(layers.iter_mut().any(damage), "no layer to damage");
    let layers = layers.into_iter().map(|layer| &*Box::leak(Box::new(layer))).collect();
    refused(Program { layers, ..sound.clone() })
}

/// Damage to a convolution.
fn conv(layer: &mut Layer, damage: impl Fn(&mut peristyle_runtime::kernels::conv::Conv)) -> bool {
    let Kind::Conv(conv) = &mut layer.kind else { return false };
    damage(conv);
    true
}

#[test]
fn convolutions_stay_in_the_arena() {
    for case in ["silu_bottleneck", "qdq_residual_concat"] {
        let sound = program(case);
        Engine::new(sound, 1).expect("the program is sound");
        let conv = |damage: fn(&mut _)| damaged(sound, |layer| conv(layer, damage));
        for (error, expected) in [
            (refused(Program { arena_bytes: 64, ..sound.clone() }), "a map lies outside the arena"),
            (conv(|c| c.input.offset = usize::MAX - 63), "a map lies outside the arena"),
            (conv(|c| c.input.row = 1), "rows of a map overlap"),
            (conv(|c| c.input.plane = 1), "planes of a map overlap"),
            (conv(|c| c.input.channels = usize::MAX), "a map has impossible extents"),
            (conv(|c| c.out_height += 1), "a map does not have its outputs"),
            (conv(|c| c.out_width = 0), "it has no output"),
            (conv(|c| c.table.offsets.to_mut()[0] = i32::MAX - 3), "its weights reach outside the arena"),
            (conv(|c| c.table.offsets.to_mut()[0] = i32::MIN), "its weights reach outside the arena"),
            (conv(|c| c.table.weights.to_mut().truncate(1)), "a group has too few weights"),
            (conv(|c| c.table.segments.to_mut().clear()), "a group has unknown segments"),
            (
                conv(|c| c.table.segments.to_mut()[0] = Segment { mask: 255, block: 8, count: 1 }),
                "a segment has an unknown output",
            ),
            (conv(|c| c.table.groups.to_mut()[0].outputs = vec![u16::MAX].into()), "a group has an unknown output"),
            (conv(|c| c.table.groups.to_mut()[0].outputs = vec![0; 9].into()), "a group has too many outputs"),
            (conv(|c| c.epilogue.bias.to_mut().push(0.0)), ""),
            (conv(|c| c.epilogue.stores.to_mut()[0].map.offset = usize::MAX), "a map lies outside the arena"),
        ] {
            assert!(error.starts_with("the compiled model is damaged: layer ") && error.ends_with(expected), "{error}");
        }
    }
}

#[test]
fn pairs_come_in_whole_parts() {
    let sound = program("qdq_residual_concat");
    for damage in [|c: &mut Conv| c.table.segments.to_mut()[0].block = 1, |c: &mut Conv| c.table.group = 4] {
        let error = damaged(sound, |layer| conv(layer, damage));
        assert!(error.starts_with("the compiled model is damaged: layer "), "{error}");
    }
    let swapped = damaged(sound, |layer| conv(layer, |c: &mut Conv| c.table.segments.to_mut().swap(3, 6)));
    assert!(swapped.ends_with("a part lacks segments"), "{swapped}");
    let quads = |c: &mut Conv| c.quads.as_mut().expect("tables of quads").segments.to_mut()[0].block = 0;
    let blocks = damaged(sound, |layer| conv(layer, quads));
    assert!(blocks.ends_with("a segment has blocks"), "{blocks}");
    let without = damaged(sound, |layer| conv(layer, |c: &mut Conv| c.table.groups.to_mut()[0].segments.1 = 0));
    assert!(without.ends_with("a part lacks segments"), "{without}");
    let shorter = |c: &mut Conv| assert!(c.table.offsets.to_mut().pop().is_some());
    let ahead = damaged(sound, |layer| conv(layer, shorter));
    assert!(ahead.ends_with("its pairs end where their table does"), "{ahead}");
}

#[test]
fn blocks_of_quads_stay_in_their_panels() {
    let sound = planned("qdq_residual_concat", KernelUse::Possible);
    Engine::new(sound, 1).expect("the program is sound");
    let conv = |damage: fn(&mut Conv)| damaged(sound, |layer| conv(layer, damage));
    let pairs = |damage: fn(&mut Table)| {
        damaged(sound, |layer| self::conv(layer, |c| damage(c.quads.as_mut().expect("tables of dot products"))))
    };
    for (error, expected) in [
        (conv(|c| c.packed.to_mut().truncate(3)), "its panels have no rows"),
        (conv(|c| c.panels.as_mut().expect("panels").rows = 4 * 257), "its panels have no rows"),
        (conv(|c| c.packed.to_mut()[0] = i32::MAX - 3), "its weights reach outside the arena"),
        (conv(|c| c.table.groups.to_mut()[0].outputs.to_mut().swap(0, 1)), "in another order than its panels"),
        (conv(|c| c.table.group = 2), ""),
        (
            conv(|c| {
                let groups = c.table.groups.to_mut();
                let outputs = groups[0].outputs.to_mut().split_off(1);
                groups.insert(1, Group { outputs: outputs.into(), ..groups[0].clone() });
            }),
            "in another order than its panels",
        ),
        (conv(|c| c.table.segments.to_mut()[0].mask ^= 1), "a panel lacks an output"),
        (conv(|c| c.table.segments.to_mut().truncate(7)), "a panel lacks segments"),
        (conv(|c| c.table.segments.to_mut()[1].block = 16), "a panel lacks segments"),
        (conv(|c| c.table.segments.to_mut()[0].count = u16::MAX), "a block has quads of another panel"),
        (conv(|c| c.table.weights.to_mut().truncate(1)), "a block has quads of another panel"),
        (conv(|c| c.table.offsets.to_mut()[1] += 1), "do not follow those of the one before"),
        (
            conv(|c| *c.table.weights.to_mut().last_mut().expect("weights") = u32::MAX),
            "a block has quads of another panel",
        ),
        (conv(|c| c.blocking.outputs = 512), "its units are too large for panels"),
        (pairs(|t| t.groups.to_mut()[0].outputs.to_mut().swap(0, 1)), "in another order than its panels"),
        (pairs(|t| t.group = 2), "in another order than its panels"),
        (pairs(|t| t.segments.to_mut()[0].mask += 8), "a panel lacks an output of a pair"),
        (pairs(|t| t.segments.to_mut()[1].mask = t.segments[0].mask), "an output is paired with itself"),
        (pairs(|t| t.segments.to_mut().truncate(4)), "a panel lacks pairs of outputs"),
        (pairs(|t| t.segments.to_mut()[3].count = u16::MAX), "a record has quads of another panel"),
        (pairs(|t| t.weights.to_mut().truncate(1)), "a record has quads of another panel"),
        (pairs(|t| t.offsets.to_mut()[1] += 1), "a record has quads of another panel"),
        (pairs(|t| *t.weights.to_mut().last_mut().expect("numbers") = u32::MAX), "a record has quads of another panel"),
    ] {
        assert!(error.starts_with("the compiled model is damaged: layer ") && error.ends_with(expected), "{error}");
    }
}

#[test]
fn rows_stay_in_their_panels() {
    let sound = planned("silu_bottleneck", KernelUse::Possible);
    Engine::new(sound, 1).expect("the program is sound");
    let conv = |damage: fn(&mut Conv)| damaged(sound, |layer| conv(layer, damage));
    for (error, expected) in [
        (conv(|c| c.packed.to_mut().clear()), "its panels have no rows"),
        (conv(|c| c.panels.as_mut().expect("panels").rows = 0), "its panels have impossible extents"),
        (conv(|c| c.panels.as_mut().expect("panels").rows = 342), "its panels have impossible extents"),
        (conv(|c| c.panels.as_mut().expect("panels").tile = PanelTile::Quads1x64), "those of another arithmetic"),
        (conv(|c| c.blocking.pass_tiles = 4), "its panels have impossible extents"),
        (conv(|c| c.packed.to_mut()[0] = i32::MAX - 3), "its weights reach outside the arena"),
        (conv(|c| c.table.group = 1), "a group has too many outputs"),
        (conv(|c| c.table.groups.to_mut()[0].outputs.to_mut().truncate(1)), ""),
        (conv(|c| c.table.groups.to_mut()[0].weight = u32::MAX), "a panel lacks weights"),
        (conv(|c| c.table.groups.to_mut()[0].segments.0 = u32::MAX), "a panel lacks segments"),
        (conv(|c| c.table.segments.to_mut().clear()), "a panel lacks segments"),
        (conv(|c| c.table.segments.to_mut()[0].mask = 128), "a segment has impossible steps"),
        (conv(|c| c.table.segments.to_mut()[0].count = u16::MAX), "a panel lacks weights"),
        (conv(|c| c.table.weights.to_mut().truncate(1)), "a panel lacks weights"),
        (conv(|c| c.panels.as_mut().expect("panels").tile = PanelTile::Sparse2x48), "are not those of its panels"),
    ] {
        assert!(error.starts_with("the compiled model is damaged: layer ") && error.ends_with(expected), "{error}");
    }
}

#[test]
fn offsets_of_rows_stay_in_their_panel() {
    for zeros in [7, 4] {
        // Of every ten weights in turn so many are zero.
        let sound = thinned("spatial_pyramid", |i| i * 7 % 10 < zeros);
        Engine::new(sound, 1).expect("the program is sound");
        for damage in [|offset: &mut i32| *offset = 1, |offset: &mut i32| *offset = 0xffff] {
            let error = damaged(sound, |layer| {
                let Kind::Conv(conv) = &mut layer.kind else { return false };
                let is = conv.panels.is_some_and(|panels| panels.tile == PanelTile::Sparse2x48);
                if is {
                    damage(&mut conv.table.offsets.to_mut()[0]);
                }
                is
            });
            assert!(error.ends_with("a segment has rows of another panel"), "{error}");
        }
    }
}

#[test]
fn enlarged_rows_have_the_width_of_their_map() {
    let sound = program("detector_decoded");
    Engine::new(sound, 1).expect("the program is sound");
    for damage in [|width: &mut usize| *width -= 1, |width: &mut usize| *width = 1] {
        let error = damaged(sound, |layer| {
            let Kind::Resize(resize) = &mut layer.kind else { return false };
            damage(&mut resize.output.width);
            true
        });
        assert!(error.ends_with("the maps differ"), "{error}");
    }
}

#[test]
fn views_stay_in_their_tensors() {
    let sound = program("attention");
    Engine::new(sound, 1).expect("the program is sound");
    let product = damaged(sound, |layer| {
        let Kind::MatMul(product) = &mut layer.kind else { return false };
        product.a.strides[5] = usize::MAX;
        true
    });
    assert!(product.ends_with("a view lies outside its memory"), "{product}");
    let written = damaged(sound, |layer| {
        let Kind::Softmax(softmax) = &mut layer.kind else { return false };
        softmax.y.base = Base::Input(0);
        true
    });
    assert!(written.ends_with("a constant or input is written"), "{written}");
    let axis = damaged(sound, |layer| {
        let Kind::Softmax(softmax) = &mut layer.kind else { return false };
        softmax.axis = 6;
        true
    });
    assert!(axis.ends_with("there is no such axis"), "{axis}");
}

#[test]
fn steps_name_rows_of_layers() {
    let sound = program("silu_bottleneck");
    for step in [Step::new(u32::MAX, 0, 1), Step::new(0, 0, u32::MAX), Step::new(0, 1, 1), Step::new(0, 2, 1)] {
        let error = refused(Program { schedule: vec![step].into(), ..sound.clone() });
        assert!(error.starts_with("the compiled model is damaged: step 0: "), "{step:?}: {error}");
    }
}
