//! The nearest known name for one that is not known.

/// The known name that `wrong` most likely means: the one with the fewest edits, case and underscores aside, if those
/// are few for its length.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = normal(wrong);
    known
        .into_iter()
        .map(|name| (distance(&plain, &normal(name)), name))
        .filter(|(edits, name)| *edits <= name.len().min(plain.len()) / 3)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Whether two names are the same, case and underscores aside.
pub fn alike(a: &str, b: &str) -> bool {
    normal(a) == normal(b)
}

/// `"relu"`, `"sigmoid"` or `"tanh"`: a list for a sentence.
pub fn either(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`\"{name}\"`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn normal(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Levenshtein's distance: insertions, deletions and replacements of a letter, one each.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_a_different_word_is_not() {
        let layers = ["Conv2D", "MaxPooling2D", "Flatten", "Dense", "Input"];
        assert_eq!(nearest("Conv2d", layers), Some("Conv2D"));
        assert_eq!(nearest("max_pooling_2d", layers), Some("MaxPooling2D"));
        assert_eq!(nearest("Flaten", layers), Some("Flatten"));
        assert_eq!(nearest("Softmax", layers), None);
        assert_eq!(nearest("X", layers), None);
        assert!(alike("batch_norm", "BatchNorm") && !alike("BatchNorm", "BatchNormal"));
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
