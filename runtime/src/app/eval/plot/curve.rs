//! Lines over one axis.

use plotters::prelude::*;

use super::{INK, png, px};

/// What a figure of lines says around them.
#[derive(Clone, Debug, PartialEq)]
pub struct Axes {
    /// Above the figure.
    pub title: String,
    /// Below and beside it.
    pub labels: [String; 2],
    /// Greatest values; both axes start at 0.
    pub ends: [f64; 2],
    /// Whether the lower axis counts things, so that only whole numbers are written on it.
    pub counts: bool,
}

/// One line of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Name in the legend; lines without a name are drawn thin and grey.
    pub name: Option<String>,
    /// Points from left to right.
    pub points: Vec<(f64, f64)>,
    /// Whether it is the one to look at: thick, in blue, on top.
    pub main: bool,
    /// Whether its points are marked.
    pub dots: bool,
}

/// Colours of named lines, in turn.
const COLORS: [RGBColor; 10] = [
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(188, 189, 34),
    RGBColor(23, 190, 207),
    RGBColor(31, 119, 180),
    RGBColor(90, 90, 90),
];

const MAIN: RGBColor = RGBColor(0, 50, 230);

const UNNAMED: RGBColor = RGBColor(190, 190, 190);

/// Width and height of a figure.
const SIZE: [u32; 2] = [1400, 900];

/// Room for the legend, right of the figure.
const LEGEND: u32 = 380;

/// Draws lines with a legend and returns a PNG file.
///
/// # Errors
/// When the figure cannot be drawn.
pub fn lines(axes: &Axes, lines: &[Line]) -> Result<Vec<u8>, String> {
    png(SIZE, |area| {
        let (figure, legend) = area.split_horizontally(px(SIZE[0] - LEGEND));
        let mut chart = ChartBuilder::on(&figure)
            .caption(&axes.title, ("sans-serif", px(30), &INK))
            .margin(px(20))
            .x_label_area_size(px(60))
            .y_label_area_size(px(80))
            .build_cartesian_2d(0.0..axes.ends[0], 0.0..axes.ends[1] * 1.005)?;
        chart
            .configure_mesh()
            .x_desc(&axes.labels[0])
            .y_desc(&axes.labels[1])
            .axis_desc_style(("sans-serif", px(24), &INK))
            .label_style(("sans-serif", px(20), &INK))
            .axis_style(INK.stroke_width(px(1)))
            .bold_line_style(RGBColor(222, 222, 222).stroke_width(px(1)))
            .light_line_style(TRANSPARENT)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| if axes.counts && x.fract() != 0.0 { String::new() } else { number(x) })
            .y_label_formatter(&number)
            .draw()?;
        let styled = styled(lines);
        for (line, color, width) in &styled {
            chart.draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(px(*width))))?;
            if line.dots {
                let dot = |point: &(f64, f64)| Circle::new(*point, px(5), color.filled());
                chart.draw_series(line.points.iter().map(dot))?;
            }
        }
        let named = styled.iter().rev().filter_map(|(line, color, width)| Some((line.name.as_ref()?, color, width)));
        for (row, (name, color, width)) in named.enumerate() {
            let y = px(78 + 30 * row as u32) as i32;
            let ends = [(px(4) as i32, y), (px(40) as i32, y)];
            legend.draw(&PathElement::new(ends, color.stroke_width(px(*width))))?;
            let text = (px(50) as i32, y - px(10) as i32);
            legend.draw(&Text::new(name.as_str(), text, ("sans-serif", px(20)).into_font().color(&INK)))?;
        }
        Ok(())
    })
}

/// Lines with colour and width, in the order in which they are drawn: grey ones first, the main one last.
fn styled(lines: &[Line]) -> Vec<(&Line, RGBColor, u32)> {
    let mut colors = COLORS.iter().cycle();
    let mut styled: Vec<_> = (lines.iter())
        .map(|line| match (line.main, &line.name) {
            (true, _) => (line, MAIN, 5),
            (false, Some(_)) => (line, *colors.next().expect("the colours never end"), 2),
            (false, None) => (line, UNNAMED, 1),
        })
        .collect();
    styled.sort_by_key(|(line, ..)| (line.main, line.name.is_some()));
    // The legend is read from the top, the drawing from the bottom.
    let first_named = styled.iter().position(|(line, ..)| line.name.is_some()).unwrap_or(styled.len());
    let end = styled.len() - styled.iter().filter(|(line, ..)| line.main).count();
    styled[first_named.min(end)..end].reverse();
    styled
}

/// Ticks without a tail of zeros.
fn number(value: &f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{:.2}", value).trim_end_matches('0').to_owned() }
}
