//! The summary for an item's documentation, as `convnet_core::summary` prints it when the program runs.

use crate::check::Row;
use crate::shape::{Params, Shape};

/// Keras's widths of the first two columns, with the space behind them.
const WIDTHS: [usize; 2] = [29, 26];
const LINE: usize = 65;

/// The table. What the macro does not know stands as in the listing, or as `?`; without all parameters known there is
/// no total.
pub fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 3]> = rows
        .iter()
        .map(|row| {
            let params = row.params.map_or("?".to_string(), |params| params.total().to_string());
            [format!("{} ({})", row.name, row.kind), with_batch(&row.shape), params]
        })
        .collect();
    let width = |column: usize| {
        let longest = cells.iter().map(|row| row[column].chars().count() + 1).max().unwrap_or(0);
        longest.max(WIDTHS[column])
    };
    let (first, second) = (width(0), width(1));
    let line = LINE + first + second - WIDTHS[0] - WIDTHS[1];
    let (thin, thick) = ("_".repeat(line), "=".repeat(line));

    let mut lines =
        vec![thin.clone(), format!("{:first$}{:second$}Param #", "Layer (type)", "Output Shape"), thick.clone()];
    for (i, [name, shape, params]) in cells.iter().enumerate() {
        if i > 0 {
            lines.push(thin.clone());
        }
        lines.push(format!("{name:first$}{shape:second$}{params}"));
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
