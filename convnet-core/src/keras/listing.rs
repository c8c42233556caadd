//! Networks read from Keras, and their text.

/// One `type` of an item.
pub(super) struct Network {
    /// The type's name.
    pub name: String,
    /// Sizes of the input; an open one is `None`.
    pub input: Vec<Option<usize>>,
    pub items: Vec<Item>,
    /// Whether a map comes out of it.
    pub map: bool,
}

/// What a listing is made of.
pub(super) enum Item {
    /// A layer, or another network as one.
    Line(Line),
    /// Branches and what merges them.
    Merge { merge: Line, branches: Vec<Vec<Item>> },
}

/// A layer and its arguments.
pub(super) struct Line {
    /// `Conv2D`
    pub kind: String,
    pub arguments: Vec<String>,
    /// Whether training leaves the weights alone; `None` for a layer that has none.
    pub frozen: Option<bool>,
}

impl Network {
    /// Where all weights are frozen, makes them trainable and says so: then `trainable = false` can stand where the
    /// network is used.
    pub(super) fn thaw(&mut self) -> bool {
        let mut lines = Vec::new();
        collect(&mut self.items, &mut lines);
        let flags: Vec<&mut bool> = lines.into_iter().filter_map(|line| line.frozen.as_mut()).collect();
        let all = !flags.is_empty() && flags.iter().all(|frozen| **frozen);
        if all {
            flags.into_iter().for_each(|frozen| *frozen = false);
        }
        all
    }
}

fn collect<'a>(items: &'a mut [Item], lines: &mut Vec<&'a mut Line>) {
    for item in items {
        match item {
            Item::Line(line) => lines.push(line),
            Item::Merge { branches, .. } => branches.iter_mut().for_each(|branch| collect(branch, lines)),
        }
    }
}

/// The whole text: `convnet! { type A = […]; type B = […]; }`.
pub(super) fn item(networks: &[Network]) -> String {
    let mut text = String::from("convnet! {\n");
    for (i, network) in networks.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        let sizes: Vec<String> =
            network.input.iter().map(|size| size.map_or("None".to_owned(), |size| size.to_string())).collect();
        text += &format!("    type {} = [\n        Input({}),\n", network.name, sizes.join(", "));
        write_items(&mut text, &network.items, 2);
        text += "    ];\n";
    }
    text + "}\n"
}

fn write_items(text: &mut String, items: &[Item], depth: usize) {
    let indent = "    ".repeat(depth);
    for item in items {
        match item {
            Item::Line(line) => *text += &format!("{indent}{},\n", line_text(line)),
            Item::Merge { merge, branches } => {
                *text += &format!("{indent}{}(", merge.kind);
                for (i, branch) in branches.iter().enumerate() {
                    *text += if i > 0 { ", [" } else { "[" };
                    if !branch.is_empty() {
                        text.push('\n');
                        write_items(text, branch, depth + 1);
                        *text += &indent;
                    }
                    text.push(']');
                }
                for argument in &merge.arguments {
                    *text += &format!(", {argument}");
                }
                *text += "),\n";
            }
        }
    }
}

/// `Conv2D(32, (3, 3), trainable = false)`; another network without arguments is its name alone.
fn line_text(line: &Line) -> String {
    let mut arguments = line.arguments.clone();
    if line.frozen == Some(true) {
        arguments.push("trainable = false".to_owned());
    }
    let is_network = !super::layers::is_kind(&line.kind);
    if is_network && arguments.is_empty() {
        line.kind.clone()
    } else {
        format!("{}({})", line.kind, arguments.join(", "))
    }
}
