//! The kernels that accumulate convolutions, in one table.

use super::u8s8_spconv::PAIRS_GROUP;
use super::{Arithmetic, Conv, MAX_GROUP, PanelTile, Panels, Winograd};
use crate::simd::Isa;

/// How a kernel gets at its nonzeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Straight-line code, weights in a sequential array.
    Unrolled,
    /// A walk over tables of single rows.
    Rows,
    /// A walk over tables of row pairs.
    Pairs,
    /// A walk over tables of four rows at a time.
    Quads,
    /// A walk over tables of the rows of a panel, for two outputs, or of its quads, for one.
    Panels,
    /// A walk over tables of the quads of a panel, for two outputs.
    DotPanels,
    /// A loop over all rows of a panel.
    DensePanels,
    /// A loop over all channels of a point.
    Points,
}

/// One kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Element types, family, outputs by pixels of a register tile, form.
    pub name: &'static str,
    /// The instruction set it is written for.
    pub isa: Isa,
    /// Its arithmetic.
    pub arithmetic: Arithmetic,
    /// Where its nonzeros are.
    pub form: Form,
    /// Pixels of a register tile.
    pub pixels: usize,
}

const fn kernel(name: &'static str, isa: Isa, arithmetic: Arithmetic, form: Form, pixels: usize) -> Kernel {
    Kernel { name, isa, arithmetic, form, pixels }
}

const _: () = assert!(MAX_GROUP == 4 && PAIRS_GROUP == 2, "the names say how many outputs");

/// Every kernel. A convolution runs the first one of its arithmetic that its machine can run and whose form it was compiled
/// for.
pub static KERNELS: [Kernel; 22] = [
    kernel("f32_spconv_4x96_rows", Isa::Avx512, Arithmetic::F32, Form::Rows, 96),
    kernel("f32_spconv_4x24_unrolled", Isa::Avx2, Arithmetic::F32, Form::Unrolled, 24),
    kernel("f32_spconv_4x24_rows", Isa::Avx2, Arithmetic::F32, Form::Rows, 24),
    kernel("f32_spconv_portable", Isa::Portable, Arithmetic::F32, Form::Rows, 24),
    kernel("f32_panels_2x48_zmm", Isa::Avx512, Arithmetic::F32, Form::Panels, 48),
    kernel("f32_panels_2x48", Isa::Avx2, Arithmetic::F32, Form::Panels, 48),
    kernel("f32_panels_portable", Isa::Portable, Arithmetic::F32, Form::Panels, 48),
    kernel("f32_panels_4x48", Isa::Avx512, Arithmetic::F32, Form::DensePanels, 48),
    kernel("f32_panels_4x24", Isa::Avx2, Arithmetic::F32, Form::DensePanels, 24),
    kernel("f32_panels_portable", Isa::Portable, Arithmetic::F32, Form::DensePanels, 48),
    kernel("u8s8_panels_2x64", Isa::Avx512, Arithmetic::U8S8, Form::DotPanels, 64),
    kernel("u8s8_panels_1x64_dots", Isa::AvxVnni, Arithmetic::U8S8, Form::Panels, 64),
    kernel("u8s8_panels_1x64", Isa::Avx2, Arithmetic::U8S8, Form::Panels, 64),
    kernel("u8s8_panels_portable", Isa::Portable, Arithmetic::U8S8, Form::Panels, 64),
    kernel("f32_winograd_4x4_3x3", Isa::Avx512, Arithmetic::F32, Form::Points, 24),
    kernel("f32_winograd_4x4_3x3", Isa::Avx2, Arithmetic::F32, Form::Points, 24),
    kernel("f32_winograd_portable", Isa::Portable, Arithmetic::F32, Form::Points, 24),
    kernel("u8s8_spconv_4x64_quads", Isa::Avx512, Arithmetic::U8S8, Form::Quads, 64),
    kernel("u8s8_spconv_2x64_dots", Isa::AvxVnni, Arithmetic::U8S8, Form::Pairs, 64),
    kernel("u8s8_spconv_4x32_unrolled", Isa::Avx2, Arithmetic::U8S8, Form::Unrolled, 32),
    kernel("u8s8_spconv_2x64_pairs", Isa::Avx2, Arithmetic::U8S8, Form::Pairs, 64),
    kernel("u8s8_spconv_portable", Isa::Portable, Arithmetic::U8S8, Form::Pairs, 32),
];

/// Why a layer's kernel runs on machines with `isa`, where the layer was planned for `planned` and may be `special`,
/// computed from panels or by points; empty where there is no choice.
pub const fn reason(isa: Isa, arithmetic: Arithmetic, special: bool, planned: &str) -> &str {
    match (isa, arithmetic) {
        (Isa::Portable, _) => "",
        (Isa::Avx512, _) if !special => "there tables are faster than the longer instructions of straight-line code",
        (Isa::AvxVnni, Arithmetic::U8S8) if !special => {
            "there tables, whose pairs a dot product takes two at a time, are faster than straight-line code"
        }
        _ => planned,
    }
}

/// Base tiles that a kernel computes at once, at most: passes of whole such runs leave no kernel a remainder.
pub fn widest(arithmetic: Arithmetic) -> usize {
    let pixels = KERNELS.iter().filter(|k| k.arithmetic == arithmetic).map(|k| k.pixels).max();
    pixels.map_or(1, |pixels| pixels / arithmetic.tile())
}

/// The kernel for an instruction set, an arithmetic, and a layer that was unrolled or not, or is computed from panels or
/// by points.
pub fn find(
    isa: Isa,
    arithmetic: Arithmetic,
    unrolled: bool,
    panels: Option<Panels>,
    winograd: Option<Winograd>,
) -> &'static Kernel {
    let form = |form| match (panels, winograd) {
        (_, Some(_)) => form == Form::Points,
        (Some(panels), None) => panels.tile.forms().contains(&form),
        (None, None) => match form {
            Form::Panels | Form::DotPanels | Form::DensePanels | Form::Points => false,
            Form::Unrolled => unrolled,
            Form::Rows | Form::Pairs | Form::Quads => true,
        },
    };
    // Of all that may run a layer, those of the best instruction set stand first.
    let serves = |k: &&Kernel| k.isa <= isa && k.arithmetic == arithmetic && form(k.form);
    KERNELS.iter().find(serves).expect("there is a table kernel for every instruction set and arithmetic")
}

impl PanelTile {
    /// The forms of the kernels that compute it.
    pub const fn forms(self) -> &'static [Form] {
        match self {
            PanelTile::Quads1x64 => &[Form::Panels, Form::DotPanels],
            PanelTile::Sparse2x48 => &[Form::Panels],
            PanelTile::Dense4x24 => &[Form::DensePanels],
        }
    }
}

impl Conv {
    /// The kernel that runs this layer on a machine with `isa`.
    pub fn kernel(&self, isa: Isa) -> &'static Kernel {
        let unrolled = self.table(isa).groups.iter().all(|g| g.unrolled.is_some());
        find(isa, self.arithmetic, unrolled, self.panels, self.winograd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_found() {
        for kernel in &KERNELS {
            let unrolled = kernel.form == Form::Unrolled;
            let tiles = [PanelTile::Dense4x24, PanelTile::Sparse2x48, PanelTile::Quads1x64];
            let tile = tiles.into_iter().find(|tile| tile.forms().contains(&kernel.form));
            let panels = tile.map(|tile| Panels { rows: 1, tile });
            let winograd = (kernel.form == Form::Points).then_some(Winograd { tile_rows: 1, pad: [1, 1] });
            assert_eq!(find(kernel.isa, kernel.arithmetic, unrolled, panels, winograd), kernel);
            for isa in Isa::ALL.into_iter().filter(|&isa| isa >= kernel.isa) {
                let found = find(isa, kernel.arithmetic, unrolled, panels, winograd);
                assert!(found.isa >= kernel.isa && found.isa <= isa, "{}: {}", isa.name(), found.name);
            }
        }
    }
}
