//! What the dry run says of a layer that does not fit the shape above it.

use super::{Stop, Walk};
use crate::error::Complaint;
use crate::layer::{InputShape, Layer, Op, Window};
use crate::shape::{Misfit, Shape, remaining};
use proc_macro2::TokenStream;

impl Walk<'_> {
    /// Complains of a misfit.
    pub fn misfit(&mut self, layer: &Layer, misfit: Misfit) {
        let kind = self.label(layer.op.kind());
        match (misfit, &layer.op) {
            (Misfit::WindowTooLarge, op) => {
                if let Some(window) = op.window() {
                    let complaint = self.window_too_large(&kind, window);
                    self.complain(layer, &window.tokens, complaint);
                }
            }
            (Misfit::NeedsMap, _) => {
                let sentence = format!(
                    "{kind}: needs a feature map (height, width, channels), but {} the vector {}",
                    self.above("gives", "is"),
                    self.shape
                );
                self.displaced_flatten = true;
                let help = self.way_to_a_map(layer.op.kind());
                self.complain_of_layer(layer, sentence, &help);
            }
            (Misfit::NeedsVector, _) => {
                let sentence =
                    format!("{kind}: needs a vector, but {} the feature map {}", self.above("gives", "is"), self.shape);
                self.displaced_flatten = true;
                self.complain_of_layer(layer, sentence, "put `Flatten()` before it");
            }
            // A `Flatten` behind the `Dense` that needed it has been complained about there.
            (Misfit::AlreadyFlat, _) if self.displaced_flatten => self.displaced_flatten = false,
            (Misfit::AlreadyFlat, _) => {
                let above = match self.path.last() {
                    Some(stop) if stop.kind.starts_with("Global") => format!("the `{}` above gives", stop.kind),
                    _ => self.above("gives", "is"),
                };
                let sentence = format!("{kind}: {above} a vector already, {}", self.shape);
                self.complain_of_layer(layer, sentence, "remove this `Flatten()`");
            }
            (Misfit::Groups, Op::Conv2D { filters, groups, .. }) => {
                let (groups, filters) = (groups.text(), filters.text());
                let channels = self.shape.dims().last().map_or("?".to_string(), ToString::to_string);
                let above = if self.path.is_empty() { "of the input" } else { "of the layer above" };
                let sentence = format!(
                    "{kind}: `groups` is {groups}, which must divide both the {channels} channels {above} and the \
                     {filters} filters"
                );
                self.complain_of_layer(layer, sentence, &common_divisors(&channels, &filters));
            }
            (Misfit::Reshape, Op::Reshape { target, tokens, .. }) => {
                let complaint = self.other_number(&kind, target);
                self.complain(layer, tokens, complaint);
            }
            (Misfit::Inferred, op @ Op::Reshape { tokens, .. }) => {
                let complaint = self.size_left_out(&kind, op);
                self.complain(layer, tokens, complaint);
            }
            _ => {}
        }
    }

    fn complain_of_layer(&self, layer: &Layer, sentence: String, help: &str) {
        let complaint = Complaint::new(sentence).trail(&self.trail());
        let complaint = if help.is_empty() { complaint } else { complaint.help(help) };
        self.complain(layer, &TokenStream::new(), complaint);
    }

    /// What helps a layer that needs a map: to stand before the layer that made a vector of it.
    fn way_to_a_map(&self, kind: &str) -> String {
        let is_vector = |stop: &Stop| matches!(stop.shape, Shape::Vector(_));
        let from = self.path.iter().rposition(|stop| !is_vector(stop)).map_or(0, |last_map| last_map + 1);
        match self.path.get(from) {
            None => "give the input three sizes: `Input(28, 28, 1)`".to_string(),
            Some(_) if from == 0 && matches!(self.input, Shape::Vector(_)) => {
                "give the input three sizes, `Input(28, 28, 1)`, or make a map of the vector with a `Reshape`"
                    .to_string()
            }
            Some(stop) => format!("put the `{kind}` before `{}()`", stop.kind),
        }
    }

    fn window_too_large(&self, kind: &str, window: &Window) -> Complaint {
        let [height, width, _] = match &self.shape {
            Shape::Map(dims) => dims.each_ref().map(ToString::to_string),
            _ => Default::default(),
        };
        let [rows, columns] = window.size.each_ref().map(|size| size.text());
        let reach = [0, 1].map(|axis| window.reach(axis).map_or("?".to_string(), |reach| reach.to_string()));
        let dilated = window.dilation.iter().any(|dilation| dilation.known() != Some(1));
        let spread =
            if !dilated { String::new() } else { format!(", spread over {}×{} by its dilation,", reach[0], reach[1]) };
        let map = if self.path.is_empty() { "input" } else { "feature map of the layer above" };
        let sentence = format!("{kind}: a {rows}×{columns} window{spread} does not fit the {height}×{width} {map}");
        let mut ways = Vec::new();
        if spread.is_empty() {
            ways.push(format!("use a window of at most {height}×{width}"));
        } else {
            ways.push("use a smaller window, a smaller dilation".to_string());
        }
        ways.push("`padding = \"same\"`".to_string());
        if self.path.iter().any(|stop| matches!(stop.kind, "MaxPooling2D" | "AveragePooling2D")) {
            ways.push("one pooling layer less".to_string());
        }
        let help = match &ways[..] {
            [first, second] => format!("{first} or {second}"),
            _ => format!("{}, {}, or {}", ways[0], ways[1], ways[2]),
        };
        Complaint::new(sentence).trail(&self.trail()).help(help)
    }

    fn other_number(&self, kind: &str, target: &InputShape) -> Complaint {
        let target = Shape::from(target);
        let number = |shape: &Shape| shape.values().map_or("?".to_string(), |values| values.to_string());
        let sentence = format!(
            "{kind}: {target} has {} values, but {} {}, {}",
            number(&target),
            self.above("gives", "has"),
            number(&self.shape),
            self.shape
        );
        let complaint = Complaint::new(sentence).trail(&self.trail());
        match (&target, self.shape.values()) {
            (Shape::Vector(_), Some(values)) => complaint.help(format!("write `Reshape(({values},))`")),
            _ => complaint,
        }
    }

    fn size_left_out(&self, kind: &str, op: &Op) -> Complaint {
        let sentence = format!("{kind}: a size cannot be left to be computed");
        let complaint = Complaint::new(sentence);
        match remaining(op, &self.shape) {
            Some(number) => complaint.help(format!("write {number} instead of -1")),
            None => match self.shape.values() {
                Some(values) => complaint.help(format!(
                    "{} {values} values, {}, which the other sizes do not divide",
                    self.above("gives", "has"),
                    self.shape
                )),
                None => complaint.help("write the number instead of -1"),
            },
        }
    }

    /// "the layer above gives", or "the input is" for the first layer.
    pub fn above(&self, gives: &str, is: &str) -> String {
        if self.path.is_empty() { format!("the input {is}") } else { format!("the layer above {gives}") }
    }

    /// The way to the present layer; nothing for the first one.
    pub fn trail(&self) -> String {
        if self.path.is_empty() { String::new() } else { trail_from(self.input.to_string(), &self.path) }
    }

    /// How a complaint names a layer: `Conv2D`, "Conv2D of `Base`", "Conv2D in round 2 of `Repeat`".
    pub fn label(&self, kind: &str) -> String {
        let round = self.rounds.iter().rev().find(|(round, _)| *round > 1);
        let round = round.map_or(String::new(), |(round, _)| format!(" in round {round} of `Repeat`"));
        match &self.within {
            Some((network, _)) => format!("{kind} of `{network}`{round}"),
            None => format!("{kind}{round}"),
        }
    }
}

/// `(28, 28, 1) → conv2d_1 (26, 26, 32) → … → conv2d_3 (3, 3, 64)`
pub fn trail_from(start: String, stops: &[Stop]) -> String {
    let text = |stop: &Stop| format!("{} {}", stop.name, stop.shape);
    let mut texts = vec![start];
    match stops {
        [first, second, _, .., last] if stops.len() > 4 => {
            texts.extend([text(first), text(second), "…".to_string(), text(last)]);
        }
        stops => texts.extend(stops.iter().map(text)),
    }
    texts.join(" → ")
}

/// Numbers of groups that there can be; nothing if that is not known.
fn common_divisors(channels: &str, filters: &str) -> String {
    let (Ok(channels), Ok(filters)) = (channels.parse::<usize>(), filters.parse::<usize>()) else {
        return String::new();
    };
    let divides = |groups: &usize| channels.is_multiple_of(*groups) && filters.is_multiple_of(*groups);
    let all: Vec<String> =
        (1..=channels.min(filters).min(1024)).filter(divides).map(|groups| groups.to_string()).collect();
    match all.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("there can be {} or {last} groups", rest.join(", ")),
        _ => "only 1 does".to_string(),
    }
}
