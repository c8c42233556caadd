//! The summary for an item's documentation, as `convnet_core::summary` prints it when the program runs.

use crate::check::{Checked, Row};
use crate::shape::{Params, Shape};

/// What the network's input is called where layers are named.
const INPUT: &str = "input";

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

/// The table. What the macro does not know stands as in the listing, or as `?`; without all parameters known there is
/// no total.
pub fn table(checked: &Checked) -> String {
    let rows = &checked.rows;
    let branches = rows.iter().enumerate().any(|(i, row)| row.inputs != [i]);
    let (columns, layers) =
        if branches { (BRANCHED, branched_cells(checked)) } else { (SEQUENTIAL, sequential_cells(rows)) };
    let width = |column: usize| {
        let longest = layers.iter().flatten().map(|cells| cells[column].chars().count() + 1).max().unwrap_or(0);
        longest.max(columns.widths[column])
    };
    let widths: Vec<usize> = (0..columns.widths.len()).map(width).collect();
    let line = columns.line + widths.iter().sum::<usize>() - columns.widths.iter().sum::<usize>();
    let (thin, thick) = ("_".repeat(line), "=".repeat(line));

    let titles: Vec<String> = columns.titles.iter().map(|title| title.to_string()).collect();
    let mut lines = vec![thin.clone(), aligned(&titles, &widths), thick.clone()];
    for (i, cells) in layers.iter().enumerate() {
        if i > 0 {
            lines.push(thin.clone());
        }
        lines.extend(cells.iter().map(|cells| aligned(cells, &widths)));
    }
    lines.push(thick);
    let all = rows.iter().try_fold(Params::default(), |all, row| Some(all + row.params?));
    if let Some(all) = all {
        lines.push(format!("Total params: {}", thousands(all.total())));
        lines.push(format!("Trainable params: {}", thousands(all.trainable)));
        lines.push(format!("Non-trainable params: {}", thousands(all.fixed)));
        lines.push(thin);
    }
    lines.join("\n")
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let width = widths.get(i).copied().unwrap_or(0);
        line += &format!("{cell:width$}");
    }
    line.trim_end().to_string()
}

/// The lines of each layer, here one.
fn sequential_cells(rows: &[Row]) -> Vec<Vec<Vec<String>>> {
    let cells = |row: &Row| {
        let params = row.params.map_or("?".to_string(), |params| params.total().to_string());
        vec![format!("{} ({})", row.name, row.kind), with_batch(&row.shape), params]
    };
    rows.iter().map(|row| vec![cells(row)]).collect()
}

/// The lines of the input and of each layer: one for each tensor that it takes.
fn branched_cells(Checked { input, rows, .. }: &Checked) -> Vec<Vec<Vec<String>>> {
    let name = |tensor: usize| tensor.checked_sub(1).map_or(INPUT, |row| &rows[row].name);
    let input = vec![format!("{INPUT} (InputLayer)"), with_batch(input), "0".to_string(), String::new()];
    let mut layers = vec![vec![input]];
    for (cells, row) in sequential_cells(rows).into_iter().zip(rows) {
        let mut own = cells.concat();
        let lines = row.inputs.iter().map(|tensor| {
            let mut cells = std::mem::take(&mut own);
            cells.resize(3, String::new());
            cells.push(name(*tensor).to_string());
            cells
        });
        layers.push(lines.collect());
    }
    layers
}

/// `(None, 26, 26, 32)`
fn with_batch(shape: &Shape) -> String {
    let sizes: String = shape.dims().iter().map(|size| format!(", {size}")).collect();
    format!("(None{sizes})")
}

/// `93,322`
fn thousands(number: u128) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
