//! The curves of a history as a picture, in the book's style.
//!
//! The letters are DejaVu Sans, carried in the library: a picture looks the same on a machine without any font. An
//! SVG names `sans-serif` and leaves the letters to whoever shows it.

use super::history::History;
use crate::whole_file::write_whole;
use crate::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use std::path::Path;
use std::sync::LazyLock;

/// Width and height of a picture, in pixels.
const SIZE: (u32, u32) = (1200, 480);
/// The carried font's name among plotters', which a program shares with its own plots: one that nobody else uses.
const FONT: &str = "convnet-dejavu-sans";

/// One of the two diagrams.
struct Curves<'a> {
    what: &'static str,
    training: &'a [f32],
    validation: &'a [f32],
    /// Where the legend stands: losses fall, accuracies rise.
    legend: Side,
}

/// Above the curves or below them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Above,
    Below,
}

/// See [`History::plot`].
pub(super) fn plot(history: &History, path: &Path) -> Result<()> {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let draw: fn(&History) -> Result<Vec<u8>, String> = match extension.as_deref() {
        Some("svg") => svg,
        Some("png") => png,
        _ => {
            let (expected, found) = ("a file that ends in .svg or .png".to_owned(), path.display().to_string());
            return Err(Error::Argument { argument: "path", expected, found });
        }
    };
    if history.is_empty() {
        return Err(Error::Plot { path: path.to_owned(), reason: "the history has no epoch".to_owned() });
    }
    let picture = draw(history).map_err(|reason| Error::Plot { path: path.to_owned(), reason })?;
    write_whole(path, &picture)
}

fn svg(history: &History) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    draw(history, &SVGBackend::with_string(&mut text, SIZE).into_drawing_area())?;
    Ok(text.replace(FONT, "sans-serif").into_bytes())
}

fn png(history: &History) -> Result<Vec<u8>, String> {
    let (width, height) = SIZE;
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    draw(history, &BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area())?;

    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| {
            writer.write_image_data(&pixels)?;
            writer.finish()
        })
        .map_err(|error| error.to_string())?;
    Ok(file)
}

/// Loss on the left, accuracy on the right.
fn draw<B: DrawingBackend>(history: &History, area: &DrawingArea<B, Shift>) -> Result<(), String> {
    static FONT_IS_THERE: LazyLock<bool> =
        LazyLock::new(|| register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok());
    if !*FONT_IS_THERE {
        return Err("the library's font cannot be read".to_owned());
    }
    let curves = [
        Curves { what: "Loss", training: history.loss(), validation: history.val_loss(), legend: Side::Above },
        Curves {
            what: "Accuracy",
            training: history.accuracy(),
            validation: history.val_accuracy(),
            legend: Side::Below,
        },
    ];
    area.fill(&WHITE).map_err(|error| error.to_string())?;
    let numbers: Vec<f64> = history.epochs().map(|epoch| epoch.number as f64).collect();
    for (curves, half) in curves.iter().zip(area.split_evenly((1, 2))) {
        diagram(curves, &numbers, &half).map_err(|error| error.to_string())?;
    }
    area.present().map_err(|error| error.to_string())
}

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Dots for training, a line for validation, over the epochs' numbers.
fn diagram<B: DrawingBackend>(curves: &Curves<'_>, numbers: &[f64], area: &DrawingArea<B, Shift>) -> Drawn<B> {
    let Curves { what, training, validation, legend } = *curves;
    let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
    let mut chart = ChartBuilder::on(area)
        .caption(what, (FONT, 24))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(first - 0.5..last + 0.5, range(training, validation, legend))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(numbers.len().clamp(2, 12))
        .x_label_formatter(&|x| if x.fract() == 0.0 { format!("{x:.0}") } else { String::new() })
        .label_style((FONT, 16))
        .axis_desc_style((FONT, 18))
        .x_desc("Epochs")
        .draw()?;
    // In lower case: plotters sets a "Tr" too tight.
    chart
        .draw_series(finite(numbers, training).map(|point| Circle::new(point, 4, BLUE.filled())))?
        .label("training")
        .legend(|(x, y)| Circle::new((x + 10, y), 4, BLUE.filled()));
    if !validation.is_empty() {
        chart
            .draw_series(LineSeries::new(finite(numbers, validation), BLUE.stroke_width(2)))?
            .label("validation")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLUE.stroke_width(2)));
    }
    let corner = match legend {
        Side::Above => SeriesLabelPosition::UpperRight,
        Side::Below => SeriesLabelPosition::LowerRight,
    };
    chart
        .configure_series_labels()
        .position(corner)
        .label_font((FONT, 16))
        .background_style(WHITE)
        .border_style(BLACK.mix(0.4))
        .draw()
}

/// The points of a curve; a NaN has no place in a diagram.
fn finite<'a>(numbers: &'a [f64], values: &'a [f32]) -> impl Iterator<Item = (f64, f64)> + 'a {
    numbers.iter().copied().zip(values.iter().map(|value| f64::from(*value))).filter(|(_, value)| value.is_finite())
}

/// What the vertical axis covers: all values, a little more, and room for the legend.
fn range(training: &[f32], validation: &[f32], legend: Side) -> std::ops::Range<f64> {
    let values = || training.iter().chain(validation).map(|value| f64::from(*value)).filter(|value| value.is_finite());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return 0.0..1.0;
    }
    // Equal values, too, lie in the middle of something.
    let height = if high - low > 1e-6 * high.abs() { high - low } else { high.abs().max(1e-6) };
    let (margin, room) = (0.06 * height, 0.24 * height);
    match legend {
        Side::Above => low - margin..high + room,
        Side::Below => low - room..high + margin,
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::epoch;
    use super::*;

    fn history(epochs: usize, validated: bool) -> History {
        let mut history = History::default();
        for number in 1..=epochs {
            let loss = 0.7 / number as f32;
            history.push(&epoch(number, loss, validated.then_some(0.2 + 0.8 * loss)));
        }
        history
    }

    fn drawn(history: &History, name: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        history.plot(&path).unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn an_svg_has_a_dot_for_each_epoch_and_its_words() {
        let text = String::from_utf8(drawn(&history(7, true), "curves.svg")).unwrap();
        // One more for each legend.
        assert_eq!(text.matches("<circle").count(), 2 * (7 + 1));
        for words in ["Loss", "Accuracy", "training", "validation", "Epochs"] {
            assert!(text.contains(words), "{words}");
        }
        assert!(text.contains(r#"font-family="sans-serif""#) && !text.contains(FONT));
        let text = String::from_utf8(drawn(&history(7, false), "curves.SVG")).unwrap();
        assert!(!text.contains("validation"));
    }

    #[test]
    fn a_png_shows_something_on_both_sides() {
        let file = drawn(&history(7, true), "curves.png");
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), SIZE);
        let blue = |columns: std::ops::Range<usize>| {
            let row = 3 * SIZE.0 as usize;
            let pixel = |y, x: usize| &pixels[y * row + 3 * x..][..3];
            (0..SIZE.1 as usize)
                .flat_map(|y| columns.clone().map(move |x| (y, x)))
                .filter(|(y, x)| *pixel(*y, *x) == [0, 0, 255])
                .count()
        };
        assert!(blue(0..600) > 300 && blue(600..1200) > 300, "{} {}", blue(0..600), blue(600..1200));
    }

    /// plotters keeps one list of fonts for the whole program.
    #[test]
    fn the_fonts_of_other_plots_stay_as_they_are() {
        drawn(&history(2, true), "curves.png");
        assert!((FONT, 16).into_font().box_size("text").is_ok());
        assert!(("sans-serif", 16).into_font().box_size("text").is_err(), "nobody has registered this one");
    }

    #[test]
    fn odd_histories_are_drawn() {
        drawn(&history(1, true), "one.svg");
        drawn(&history(1000, true), "many.png");
        let mut lost = history(2, true);
        lost.push(&epoch(3, f32::NAN, Some(f32::INFINITY)));
        drawn(&lost, "lost.png");
        let mut nothing = History::default();
        nothing.push(&epoch(1, f32::NAN, None));
        drawn(&nothing, "nothing.svg");
    }

    #[test]
    fn what_cannot_be_drawn_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let error = history(2, true).plot("curves.jpg").unwrap_err();
        assert_eq!(error.to_string(), "path: expected a file that ends in .svg or .png, found curves.jpg");
        assert!(matches!(history(2, true).plot(path("none")), Err(Error::Argument { argument: "path", .. })));
        assert!(matches!(history(2, true).plot(path("none/curves.svg")), Err(Error::Io { .. })));
        let error = History::default().plot(path("curves.svg")).unwrap_err();
        assert!(error.to_string().ends_with("the history has no epoch"), "{error}");
    }

    #[test]
    fn a_failed_drawing_leaves_the_old_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curves.png");
        history(2, false).plot(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        History::default().plot(&path).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
