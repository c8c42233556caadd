//! The page on Keras's arguments, `docs/keras.md`, keeps up with the table of signatures.

use crate::keras::{COMMON, NO_LAYERS_YET, NOT_YET, SIGNATURES, SPECIAL};
use std::path::Path;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/keras.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands below a heading, up to the next one.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section `{heading}`"));
    below.split_once("\n#").map_or(below, |(section, _)| section)
}

/// The rows of a section's table: a parameter, and what it is here.
fn rows(section: &str) -> Vec<(&str, &str)> {
    let cells = |line: &'_ str| line.starts_with("| `");
    let row = |line| {
        let mut cells = str::split(line, " | ").map(|cell: &str| cell.trim_matches(['|', ' ', '`']));
        (cells.next().unwrap_or_default(), cells.nth(1).unwrap_or_default())
    };
    section.lines().filter(|line| cells(line)).map(row).collect()
}

#[test]
fn every_parameter_has_its_row() {
    let page = page();
    for signature in &SIGNATURES {
        let rows = rows(section(&page, &format!("### `{}`", signature.layer)));
        let parameters: Vec<&str> = rows.iter().map(|(parameter, _)| *parameter).collect();
        assert_eq!(parameters, signature.parameters, "{}", signature.layer);
        for (parameter, here) in rows {
            let fixed =
                NOT_YET.iter().any(|(other, _)| *other == parameter) || matches!(parameter, "data_format" | "axis");
            let expected = if fixed { "only `" } else { "yes" };
            assert!(here.starts_with(expected), "{}: `{parameter}` is {here:?}", signature.layer);
        }
    }
    let common: Vec<(&str, &str)> = rows(section(&page, "## What every layer takes"));
    for parameter in COMMON {
        assert!(common.contains(&(parameter, "yes")), "{parameter}");
    }
}

#[test]
fn every_layer_is_on_the_page() {
    let page = page();
    for (layer, _) in SPECIAL {
        assert!(!section(&page, &format!("### `{layer}`")).is_empty());
    }
    let missing = section(&page, "## Layers that are not here");
    let absent: Vec<&str> = NO_LAYERS_YET
        .iter()
        .map(|(layer, _)| *layer)
        .filter(|layer| !missing.contains(&format!("`{layer}`")))
        .collect();
    assert!(absent.is_empty(), "no answer for {absent:?}");
}
