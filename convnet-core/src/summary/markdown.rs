//! The table of a network's layers in Markdown.

use super::{branches, connections, thousands};
use crate::plan::Plan;

/// The table with the totals in its last rows; a further column where the network branches.
pub(super) fn table(plan: &Plan) -> String {
    let branched = branches(plan);
    let mut table = String::from("| Layer | Type | Output shape | Params |");
    table += if branched { " Connected to |\n|---|---|---|---:|---|\n" } else { "\n|---|---|---|---:|\n" };
    for layer in plan.layers {
        let (name, kind, params) = (escaped(&layer.name.to_string()), layer.op.kind(), thousands(layer.params()));
        table += &format!("| {name} | {kind} | {} | {params} |", layer.output);
        if branched {
            let names: Vec<String> = connections(plan, layer).iter().map(|name| escaped(name)).collect();
            table += &format!(" {} |", names.join(", "));
        }
        table.push('\n');
    }
    let end = if branched { " |\n" } else { "\n" };
    table += &format!("| **Total** | | | **{}** |{end}", thousands(plan.params));
    table += &format!("| Trainable | | | {} |{end}", thousands(plan.trainable_params));
    table += &format!("| Non-trainable | | | {} |{end}", thousands(plan.params - plan.trainable_params));
    table
}

/// A name that a user gave must not end its cell or the row.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}
