//! The table of a network's layers, as the book prints it; that of a network with branches, as Keras prints those.

use super::{INPUT, Summary, branches, connections, thousands};
use crate::plan::Plan;
use crate::shape::Shape;
use std::fmt;

/// The columns of a table: their titles, Keras's widths of all but the last (with the space behind them), and Keras's
/// width of the whole.
struct Columns {
    titles: &'static [&'static str],
    widths: &'static [usize],
    line: usize,
}

const SEQUENTIAL: Columns =
    Columns { titles: &["Layer (type)", "Output Shape", "Param #"], widths: &[29, 26], line: 65 };
const BRANCHED: Columns =
    Columns { titles: &["Layer (type)", "Output Shape", "Param #", "Connected to"], widths: &[33, 22, 12], line: 100 };

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        let (columns, layers) =
            if branches(plan) { (BRANCHED, branched_rows(plan)) } else { (SEQUENTIAL, sequential_rows(plan)) };
        let width = |column: usize| {
            let cells = layers.iter().flatten().map(|row| row[column].chars().count() + 1);
            cells.max().unwrap_or(0).max(columns.widths[column])
        };
        let widths: Vec<usize> = (0..columns.widths.len()).map(width).collect();
        let line = columns.line + widths.iter().sum::<usize>() - columns.widths.iter().sum::<usize>();
        let titles: Vec<String> = columns.titles.iter().map(|&title| title.to_owned()).collect();

        writeln!(f, "{}", "_".repeat(line))?;
        write_row(f, &titles, &widths)?;
        writeln!(f, "{}", "=".repeat(line))?;
        for (i, rows) in layers.iter().enumerate() {
            if i > 0 {
                writeln!(f, "{}", "_".repeat(line))?;
            }
            for row in rows {
                write_row(f, row, &widths)?;
            }
        }
        writeln!(f, "{}", "=".repeat(line))?;
        writeln!(f, "Total params: {}", thousands(plan.params))?;
        writeln!(f, "Trainable params: {}", thousands(plan.trainable_params))?;
        writeln!(f, "Non-trainable params: {}", thousands(plan.params - plan.trainable_params))?;
        write!(f, "{}", "_".repeat(line))
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
    let mut row = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let width = widths.get(i).copied().unwrap_or(0);
        row += &format!("{cell:width$}");
    }
    writeln!(f, "{}", row.trim_end())
}

/// The rows of each layer, here one.
fn sequential_rows(plan: &Plan) -> Vec<Vec<Vec<String>>> {
    let row = |layer: &crate::plan::LayerPlan| {
        vec![format!("{} ({})", layer.name, layer.op.kind()), batch_of(&layer.output), layer.params().to_string()]
    };
    plan.layers.iter().map(|layer| vec![row(layer)]).collect()
}

/// The rows of the input and of each layer: one for each tensor that it takes.
fn branched_rows(plan: &Plan) -> Vec<Vec<Vec<String>>> {
    let input = vec![format!("{INPUT} (InputLayer)"), batch_of(&plan.input), "0".to_owned(), String::new()];
    let mut layers = vec![vec![input]];
    for (row, layer) in sequential_rows(plan).into_iter().zip(plan.layers) {
        let mut own = row.concat();
        let rows = connections(plan, layer).into_iter().map(|connection| {
            let mut row = std::mem::take(&mut own);
            row.resize(3, String::new());
            row.push(connection);
            row
        });
        layers.push(rows.collect());
    }
    layers
}

/// `(None, 26, 26, 32)`
fn batch_of(shape: &Shape) -> String {
    let sizes: String = shape.sizes().iter().map(|size| format!(", {size}")).collect();
    format!("(None{sizes})")
}
