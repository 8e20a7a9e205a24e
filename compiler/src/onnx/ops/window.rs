//! Windows that slide over height and width.

use crate::onnx::error::Fault;
use crate::onnx::node::NodeContext;

/// A resolved window.
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    /// Top, left, bottom, right; includes what `ceil_mode` adds.
    pub(super) pad: [usize; 4],
    pub(super) dilation: [usize; 2],
    /// Height and width of the output.
    pub(super) out: [usize; 2],
    /// Whether `ceil_mode` grew the padding.
    pub(super) grown: bool,
}

/// Strides, dilations and pads larger than this are refused.
const MAX_STEP: i64 = 1 << 20;

/// Resolves the window attributes of a node for a kernel and an input of that height and width.
pub(super) fn window(ctx: &NodeContext<'_, '_>, kernel: [usize; 2], input: [usize; 2]) -> Result<Window, Fault> {
    let stride = pair(ctx, "strides", 1)?.unwrap_or([1, 1]);
    let dilation = pair(ctx, "dilations", 1)?.unwrap_or([1, 1]);
    let ceil_mode = ctx.attributes.int_or("ceil_mode", 0)? != 0;
    let auto_pad = ctx.attributes.string("auto_pad")?;
    if kernel.contains(&0) || kernel.iter().any(|&k| k as i64 > MAX_STEP) {
        return Fault::malformed(format!("its kernel is {}x{}", kernel[0], kernel[1]));
    }
    let span = [dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1];
    let mut pad = match auto_pad {
        "" | "NOTSET" => explicit_pads(ctx)?,
        _ => [0; 4],
    };
    let mut out = [0; 2];
    let mut grown = false;
    for i in 0..2 {
        if let "SAME_UPPER" | "SAME_LOWER" = auto_pad {
            out[i] = input[i].div_ceil(stride[i]);
            let total = ((out[i] - 1) * stride[i] + span[i]).saturating_sub(input[i]);
            let less = total / 2;
            (pad[i], pad[i + 2]) = if auto_pad == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
            continue;
        }
        if !matches!(auto_pad, "" | "NOTSET" | "VALID") {
            return Fault::malformed(format!("attribute `auto_pad` is `{auto_pad}`"));
        }
        let padded = input[i] + pad[i] + pad[i + 2];
        let Some(room) = padded.checked_sub(span[i]) else {
            return Fault::malformed(format!(
                "its window spans {}x{}, more than the padded input of {padded} along one axis",
                span[0], span[1]
            ));
        };
        out[i] = room / stride[i] + 1;
        if ceil_mode && room % stride[i] != 0 && out[i] * stride[i] < input[i] + pad[i] {
            pad[i + 2] += out[i] * stride[i] + span[i] - padded;
            out[i] += 1;
            grown = true;
        }
    }
    Ok(Window { kernel, stride, pad, dilation, out, grown })
}

/// A two-element attribute whose entries are at least `least`.
pub(super) fn pair(ctx: &NodeContext<'_, '_>, name: &str, least: i64) -> Result<Option<[usize; 2]>, Fault> {
    match ctx.attributes.ints(name)? {
        None => Ok(None),
        Some(&[h, w]) if h >= least && w >= least && h <= MAX_STEP && w <= MAX_STEP => {
            Ok(Some([h as usize, w as usize]))
        }
        Some(other) => Fault::unsupported(format!(
            "attribute `{name}` is {other:?}, expected two numbers from {least} to {MAX_STEP} (height and width)"
        )),
    }
}

/// The `pads` attribute: top, left, bottom, right.
fn explicit_pads(ctx: &NodeContext<'_, '_>) -> Result<[usize; 4], Fault> {
    match ctx.attributes.ints("pads")? {
        None => Ok([0; 4]),
        Some(&[t, l, b, r]) if [t, l, b, r].iter().all(|p| (0..=MAX_STEP).contains(p)) => {
            Ok([t, l, b, r].map(|p| p as usize))
        }
        Some(other) => Fault::unsupported(format!(
            "attribute `pads` is {other:?}, expected four numbers from 0 to {MAX_STEP} (top, left, bottom, right)"
        )),
    }
}

/// A pad inside the window plus a border around the input.
pub(super) fn enlarged(pad: [usize; 4], border: [usize; 4]) -> [usize; 4] {
    std::array::from_fn(|i| pad[i] + border[i])
}
