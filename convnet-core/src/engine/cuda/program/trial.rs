//! A product by itself, in each of the ways that it can be cut: what is launched to find the fastest.

use super::backward::Back;
use super::product::{Pass, Product};
use super::tables::{ROW, runs_of};
use super::{Builder, Element, Kind, Setting, ending};
use crate::engine::Precision;
use crate::engine::cuda::backend::{Launch, Properties};
use crate::engine::cuda::choices::{Choices, Sizes, Way};
use crate::engine::cuda::source::Source;
use crate::engine::graph::{Graph, Operation};
use crate::plan::Plan;

/// A product whose fastest way is asked for.
pub(in crate::engine::cuda) struct Question {
    /// What it is to the table of choices.
    pub name: String,
    pub sizes: Sizes,
    pass: Pass,
    /// The operation alone: it takes tensor 0 and makes tensor 1.
    graph: Graph,
    images: usize,
}

/// Launches that compute a product, and what they need.
pub(in crate::engine::cuda) struct Trial {
    pub launches: Vec<Launch>,
    /// Bytes of [`super::Memory::Work`].
    pub work: usize,
    /// What [`super::Memory::Tables`] has to hold.
    pub table: Vec<u32>,
}

/// The products of what is to be done.
pub(in crate::engine::cuda) fn questions(
    plan: &Plan,
    graph: &Graph,
    kind: Kind,
    precision: Precision,
    properties: Properties,
) -> Vec<Question> {
    let (images, back) = match kind {
        Kind::Train { images, .. } => (images, true),
        Kind::Evaluate { images, .. } | Kind::Predict { images } => (images, false),
        // Gradients that somebody looks at: once, as a rule.
        Kind::PullBack { .. } => return Vec::new(),
    };
    let asked = graph.asked_for(plan, false);
    let mut questions = Vec::new();
    for operation in &graph.operations {
        let Some(product) = Product::of(operation) else { continue };
        let back = back && asked[operation.result];
        let learns = plan.layers[operation.layer].trainable_params() > 0;
        let passes =
            [(Pass::Forward, true), (Pass::Input, back && asked[operation.inputs[0]]), (Pass::Weights, back && learns)];
        for (pass, _) in passes.into_iter().filter(|(_, wanted)| *wanted) {
            questions.push(Question {
                name: product.name(pass, images, precision),
                sizes: product.choice(pass, images, precision, properties),
                pass,
                graph: alone(operation),
                images,
            });
        }
    }
    questions
}

/// An operation as a network of its own.
fn alone(operation: &Operation) -> Graph {
    let weights = 0..operation.weights.len();
    let operation = Operation { inputs: vec![0], result: 1, weights, layer: 0, ..operation.clone() };
    Graph { tensors: vec![operation.input.len(), operation.output.len()], operations: vec![operation], output: 1 }
}

impl Question {
    /// The launches that answer by `way`, whose kernels are added to `source`.
    pub fn trial(&self, way: Way, source: &mut Source) -> Trial {
        let mut choices = Choices::default();
        choices.add(self.name.clone(), way);
        let Sizes { precision, multiprocessors, .. } = self.sizes;
        let properties = Properties { multiprocessors, tensor_cores: true };
        let setting = Setting { graph: &self.graph, properties, precision, images: self.images, choices: &choices };
        let mut builder = Builder::new(setting, source);
        let operation = &self.graph.operations[0];
        let mut table = Vec::new();
        // Nobody wrote what is read: it is held as if the host had.
        let input = builder.value(0);
        builder.hold(input);
        let Some(product) = Product::of(operation) else { return Trial { launches: Vec::new(), work: 0, table } };
        if let Pass::Forward = self.pass {
            builder.product_forward(operation, &product, ending(operation));
            return Trial::of(builder, table);
        }
        let d_output = builder.buffer(Element::F32, self.images * operation.output.len());
        builder.gradients[1] = Some(d_output);
        builder.hold(d_output);
        if let Pass::Input = self.pass {
            builder.back = Some(Back::new(&builder, vec![true; 2]));
            builder.product_backward_input(operation, &product);
            return Trial::of(builder, table);
        }
        // Parts of a gradient are added up by whoever takes it.
        let parts = builder.product_backward_weights(operation, &product);
        let runs = runs_of(operation.weights.clone(), 0, 0.0, parts);
        let sums = builder.buffer(Element::F32, operation.weights.len());
        builder.sum_gradients(0..runs.len() * ROW, sums);
        let finished = builder.finish_with(&[parts]);
        table.extend(runs.iter().flat_map(|run| run.row(&self.graph, &[parts], &finished)));
        Trial { launches: finished.launches, work: finished.work, table }
    }
}

impl Trial {
    fn of(builder: Builder<'_>, table: Vec<u32>) -> Trial {
        let finished = builder.finish();
        Trial { launches: finished.launches, work: finished.work, table }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::plan;
    use super::super::{Set, graph};
    use super::*;
    use crate::engine::cuda::backend::Role;
    use crate::engine::cuda::source::Constant;

    #[test]
    fn a_trial_is_cut_as_it_is_told() {
        let (plan, properties) = (plan(), Properties { multiprocessors: 132, tensor_cores: true });
        let graph = graph(&plan);
        let set = Set { role: Role::Training, bytes: false, images: 5000, order: 5000 };
        let kind = Kind::Train { set, images: 5000 };
        let questions = questions(&plan, &graph, kind, Precision::Tf32, properties);
        // Both layers forward, the second back to its input, both weights.
        assert_eq!(questions.len(), 5);
        for question in questions {
            let ways = question.sizes.ways();
            assert!(ways.len() > 1, "{}", question.name);
            for way @ (tiles, splits) in ways {
                let mut source = Source::default();
                let trial = question.trial(way, &mut source);
                let first = &trial.launches[0];
                let kernel = &source.kernels()[first.kernel];
                for (name, value) in [("TILE_M", tiles.m), ("TILE_N", tiles.n), ("TILE_K", tiles.k)] {
                    assert!(kernel.constants.contains(&(name, Constant::Int(value as i64))), "{name}: {kernel:?}");
                }
                assert_eq!((kernel.threads, first.grid[2] as usize), (tiles.threads, splits), "{}", question.name);
            }
        }
    }
}
