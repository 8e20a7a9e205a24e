//! The transforms as products with their matrices, in plain Rust.

use super::{DATA, GROUP, POINTS, RESULTS, SIDE, TILE, Unit};

/// `left x left'`, from a square of `N` to one of `M`.
#[inline(always)]
fn both_axes<const M: usize, const N: usize>(left: &[[f64; N]; M], x: &[[f32; N]; N]) -> [[f32; M]; M] {
    let product = |weights: &[f64; N], x: &dyn Fn(usize) -> f32| {
        let terms = weights.iter().enumerate().filter(|(_, w)| **w != 0.0);
        terms.map(|(k, &w)| w as f32 * x(k)).sum::<f32>()
    };
    let half: [[f32; N]; M] =
        core::array::from_fn(|i| core::array::from_fn(|column| product(&left[i], &|k| x[k][column])));
    core::array::from_fn(|i| core::array::from_fn(|j| product(&left[j], &|k| half[i][k])))
}

/// # Safety
/// As for [`Unit::transform`].
pub unsafe fn transform(unit: &Unit<'_>) {
    // Columns behind the last window are those of other rows.
    let columns = unit.conv.out_width + SIDE - TILE;
    for channel in 0..unit.conv.input.channels {
        for tile in 0..unit.sizes.tiles {
            let (y, x) = (tile / unit.across * TILE, tile % unit.across * TILE);
            // SAFETY: by the contract.
            let pixel = |row: usize, column: usize| unsafe {
                if x + column < columns { unit.row(channel, y + row).add(x + column).read() } else { 0.0 }
            };
            let pixels = core::array::from_fn(|row| core::array::from_fn(|column| pixel(row, column)));
            let points = both_axes(&DATA, &pixels);
            for (point, &value) in points.as_flattened().iter().enumerate() {
                // SAFETY: by the contract.
                unsafe {
                    unit.data.add(point * unit.sizes.data_plane + channel * unit.sizes.pitch + tile).write(value)
                };
            }
        }
    }
}

/// # Safety
/// As for [`Unit::multiply`].
pub unsafe fn multiply(unit: &Unit<'_>) {
    let channels = unit.conv.input.channels;
    for point in 0..POINTS {
        for (g, group) in unit.groups.iter().enumerate() {
            for j in 0..group.outputs.len() {
                // SAFETY: by the contract.
                unsafe {
                    let weights = unit.weights.add(point * unit.weights_plane + g * GROUP * channels + j);
                    let sums = unit.sums.add(point * unit.sizes.sums_plane + (g * GROUP + j) * unit.sizes.pitch);
                    let sums = core::slice::from_raw_parts_mut(sums, unit.sizes.tiles);
                    sums.fill(0.0);
                    for channel in 0..channels {
                        let w = *weights.add(channel * GROUP);
                        let data = unit.data.add(point * unit.sizes.data_plane + channel * unit.sizes.pitch);
                        let data = core::slice::from_raw_parts(data, unit.sizes.tiles);
                        sums.iter_mut().zip(data).for_each(|(sum, x)| *sum += w * x);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As for [`Unit::results`].
pub unsafe fn results(unit: &Unit<'_>, group: usize) {
    for j in 0..unit.groups[group].outputs.len() {
        for tile in 0..unit.sizes.tiles {
            let at = (group * GROUP + j) * unit.sizes.pitch + tile;
            // SAFETY: by the contract.
            unsafe {
                let point = |p: usize| *unit.sums.add(p * unit.sizes.sums_plane + at);
                let points: [[f32; SIDE]; SIDE] =
                    core::array::from_fn(|y| core::array::from_fn(|x| point(y * SIDE + x)));
                let place = *unit.places.add(tile);
                for (row, pixels) in both_axes(&RESULTS, &points).into_iter().enumerate() {
                    unit.write_cut(j, row, place, pixels);
                }
            }
        }
    }
}
