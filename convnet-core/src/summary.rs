//! The table of a network's layers, as the book prints it.

use crate::plan::Plan;
use crate::shape::Shape;
use std::fmt;

/// Prints the layers of a plan with their shapes and parameters. `None` stands for the batch.
///
/// Columns are as wide as Keras's unless a name needs more; Keras cuts it.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    plan: Plan,
}

impl Summary {
    /// The summary of a plan.
    pub const fn of(plan: Plan) -> Self {
        Summary { plan }
    }
}

/// Keras's widths of the first two columns, with the space behind them.
const WIDTHS: [usize; 2] = [29, 26];
const LINE: usize = 65;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 3]> = self
            .plan
            .layers
            .iter()
            .map(|layer| {
                [format!("{} ({})", layer.name, layer.op.kind()), batch_of(&layer.output), layer.params().to_string()]
            })
            .collect();
        let width = |column: usize| {
            let longest = rows.iter().map(|row| row[column].chars().count() + 1).max().unwrap_or(0);
            longest.max(WIDTHS[column])
        };
        let (first, second) = (width(0), width(1));
        let line = LINE + first + second - WIDTHS[0] - WIDTHS[1];

        writeln!(f, "{}", "_".repeat(line))?;
        writeln!(f, "{:first$}{:second$}Param #", "Layer (type)", "Output Shape")?;
        writeln!(f, "{}", "=".repeat(line))?;
        for (i, [name, shape, params]) in rows.iter().enumerate() {
            if i > 0 {
                writeln!(f, "{}", "_".repeat(line))?;
            }
            writeln!(f, "{name:first$}{shape:second$}{params}")?;
        }
        writeln!(f, "{}", "=".repeat(line))?;
        writeln!(f, "Total params: {}", thousands(self.plan.params))?;
        writeln!(f, "Trainable params: {}", thousands(self.plan.trainable_params))?;
        writeln!(f, "Non-trainable params: {}", thousands(self.plan.params - self.plan.trainable_params))?;
        write!(f, "{}", "_".repeat(line))
    }
}

/// `(None, 26, 26, 32)`
fn batch_of(shape: &Shape) -> String {
    let sizes: String = shape.sizes().iter().map(|size| format!(", {size}")).collect();
    format!("(None{sizes})")
}

/// `93,322`
fn thousands(number: usize) -> String {
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
