//! Networks and blocks of the same `convnet!`, as layers of later ones.

use super::{InputShape, Layer, Op, Size};
use std::collections::HashMap;
use std::rc::Rc;
use syn::Ident;

/// A network or block that the dry run knows all layers of.
pub struct Known {
    /// Its const generics, each with its default if it has one.
    pub generics: Vec<(Ident, Option<Size>)>,
    /// What it takes.
    pub input: InputShape,
    /// Its layers.
    pub layers: Vec<Layer>,
}

/// The networks and blocks above in the same `convnet!`, by name; nothing for one that the macro does not know enough
/// of.
pub type KnownNetworks = HashMap<String, Option<Rc<Known>>>;

impl Known {
    /// The same with sizes in place of its const generics; nothing if they are not as many.
    pub fn with(self: &Rc<Self>, arguments: &[Size]) -> Option<Rc<Known>> {
        if self.generics.is_empty() {
            return arguments.is_empty().then(|| self.clone());
        }
        if arguments.len() > self.generics.len() {
            return None;
        }
        let mut sizes = Vec::new();
        for (i, (name, default)) in self.generics.iter().enumerate() {
            sizes.push((name.clone(), arguments.get(i).or(default.as_ref())?.clone()));
        }
        let mut input = self.input.clone();
        input.sizes_mut().iter_mut().for_each(|size| set(size, &sizes));
        Some(Rc::new(Known { generics: Vec::new(), input, layers: with(&self.layers, &sizes) }))
    }
}

/// Layers with sizes in place of const generics.
fn with(layers: &[Layer], sizes: &[(Ident, Size)]) -> Vec<Layer> {
    let mut layers = layers.to_vec();
    for layer in &mut layers {
        layer.op.sizes().into_iter().for_each(|size| set(size, sizes));
        match &mut layer.op {
            Op::Merge { branches, .. } => branches.iter_mut().for_each(|branch| *branch = with(branch, sizes)),
            Op::Repeat { layers, .. } => *layers = with(layers, sizes),
            Op::Network { known: Some(known), .. } => {
                let mut input = known.input.clone();
                input.sizes_mut().iter_mut().for_each(|size| set(size, sizes));
                *known = Rc::new(Known { generics: Vec::new(), input, layers: with(&known.layers, sizes) });
            }
            _ => {}
        }
    }
    layers
}

fn set(size: &mut Size, sizes: &[(Ident, Size)]) {
    if let Size::Generic(name) = size
        && let Some((_, value)) = sizes.iter().find(|(other, _)| other == name)
    {
        *size = value.clone();
    }
}
