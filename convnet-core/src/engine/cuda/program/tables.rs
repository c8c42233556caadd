//! Tables in the device's memory that tell a launch what it has to do for each of its blocks: the runs of parameters of an
//! update, and the moving statistics of all normalisations.
//!
//! A row has [`ROW`] words of 32 bits. Places among the buffers are known when all launches are written, so rows are made
//! in two steps.

use super::product::Parts;
use super::{Builder, Draft, Finished, Place, THREADS, int, parameters};
use crate::engine::cuda::backend::{Argument, Memory, Span};
use crate::engine::cuda::source::{Constants, Element};
use crate::engine::graph::{Graph, Operation};
use crate::layers::Op;
use crate::plan::{Plan, Weight};
use std::ops::Range;

/// Words of a row.
pub(super) const ROW: usize = 8;

/// Parameters in a block of an update.
const RUN: usize = 1024;

/// Parts of gradients from which on a block adds them up together, and the parameters that it has then, at the most: four a
/// lane.
const MANY: usize = 16;
const SHORT: usize = 128;

/// What the kernels have to know of that.
pub(super) fn run_constants() -> Constants {
    vec![("MANY", int(MANY)), ("SHORT", int(SHORT))]
}

/// Words of [`Memory::Tables`].
pub(super) fn in_table(words: Range<usize>) -> Place {
    let element = Element::U32;
    Place::Memory(Span {
        memory: Memory::Tables,
        element,
        at: words.start * element.size(),
        bytes: words.len() * element.size(),
    })
}

/// The halves of a place: a GPU has room for more floats than 32 bits count.
fn halves(float: usize) -> [u32; 2] {
    [float as u32, (float >> 32) as u32]
}

/// A run of parameters, one block of an update.
pub(super) struct Run {
    range: Range<usize>,
    operation: usize,
    pub l2: f32,
}

/// The parameters that are `wanted`, whose gradients are these `parts` of the operations' weights, in runs.
pub(super) fn runs(plan: &Plan, graph: &Graph, parts: &[Option<Parts>], wanted: impl Fn(&Weight) -> bool) -> Vec<Run> {
    let mut runs = Vec::new();
    for (_, weight) in plan.weights().filter(|(_, weight)| wanted(weight)) {
        let range = weight.range();
        let of = |operation: &Operation| operation.weights.contains(&range.start);
        let Some(operation) = graph.operations.iter().position(of) else { continue };
        runs.extend(runs_of(range, operation, weight.l2 as f32, parts.get(operation).copied().flatten()));
    }
    runs
}

/// Some parameters of an operation, whose gradients are these parts, in runs.
pub(super) fn runs_of(range: Range<usize>, operation: usize, l2: f32, parts: Option<Parts>) -> Vec<Run> {
    let len = if parts.is_some_and(|parts| parts.splits >= MANY) { SHORT } else { RUN };
    range.clone().step_by(len).map(|start| Run { range: start..range.end.min(start + len), operation, l2 }).collect()
}

impl Run {
    /// Its place, its length, its gradient's first part and the distance to the next (in floats of [`Memory::Work`]), and
    /// its penalty.
    pub fn row(&self, graph: &Graph, parts: &[Option<Parts>], finished: &Finished) -> [u32; ROW] {
        let weights = &graph.operations[self.operation].weights;
        // An operation whose gradient nobody makes has parameters that stay: no parts.
        let (at, splits) = match parts.get(self.operation).copied().flatten() {
            Some(parts) => (finished.span(&parts.place).at / 4 + self.range.start - weights.start, parts.splits),
            None => (0, 0),
        };
        self.words(at, splits, weights.len())
    }

    /// The row as the kernels read it: the first part of its gradient is at this float, and `splits` of them lie
    /// `stride` floats apart.
    fn words(&self, at: usize, splits: usize, stride: usize) -> [u32; ROW] {
        let [low, high] = halves(at);
        let [start, count, splits, stride] =
            [self.range.start, self.range.len(), splits, stride].map(|word| word as u32);
        [start, count, low, splits, stride, self.l2.to_bits(), high, 0]
    }
}

/// Some of the moving means and variances of a normalisation, one block of `normalization_follow`.
pub(super) struct Moving {
    /// Where the first of all begins among the parameters.
    start: usize,
    channels: usize,
    /// The first that the block moves: means come first, then variances.
    first: usize,
    /// The statistics of the batch.
    statistics: Place,
    momentum: f32,
}

impl Moving {
    pub fn row(&self, finished: &Finished) -> [u32; ROW] {
        let [low, high] = halves(finished.span(&self.statistics).at / 4);
        let [start, channels, first] = [self.start, self.channels, self.first].map(|word| word as u32);
        [start, channels, first, self.momentum.to_bits(), low, high, 0, 0]
    }
}

impl Builder<'_> {
    /// The moving statistics of the normalisations that learn.
    pub(super) fn moves(&mut self, learns: impl Fn(&Operation) -> bool) -> Vec<Moving> {
        let graph = self.setting.graph;
        let mut moves = Vec::new();
        for (place, operation) in graph.operations.iter().enumerate().filter(|(_, operation)| learns(operation)) {
            let (Op::BatchNormalization(spec), Some(statistics)) = (operation.op, self.kept[place]) else { continue };
            self.keep(statistics);
            let channels = operation.input.channels();
            let momentum = spec.momentum as f32;
            let start = operation.weights.end - 2 * channels;
            let of = |first| Moving { start, channels, first, statistics, momentum };
            moves.extend((0..2 * channels).step_by(THREADS as usize).map(of));
        }
        moves
    }

    /// Lets moving statistics follow those of the batch, after the update, all in one launch.
    pub(super) fn follow(&mut self, table: Range<usize>, plan: &Plan) {
        if table.is_empty() {
            return;
        }
        let (all, grid) = (0..plan.params, [table.len() / ROW, 1, 1]);
        let arguments = vec![
            Argument::Read(in_table(table)),
            Argument::Read(Place::Work(Element::F32)),
            Argument::Update(parameters(Memory::Weights, &all)),
            Argument::Update(parameters(Memory::Previous, &all)),
            Argument::Update(super::recipe::state()),
        ];
        let (template, constants) = ("normalization_follow", Vec::new());
        self.launch(Draft { template, constants, threads: THREADS, resident: 1, grid, arguments });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plan whose second layer has 4 · 300 weights and 300 biases.
    pub fn plan() -> Plan {
        use crate::Network;
        use crate::layers::activation::Linear;
        use crate::layers::dense::Dense;
        use typenum::{U2, U4, U300};
        struct Two;
        impl crate::Definition for Two {
            const NAME: &'static str = "Two";
            type Input = crate::shape::size::Vector<2>;
            type Sizes = (U2,);
            type Layers = (Dense<U4, Linear, false>, Dense<U300, Linear, true>);
        }
        Two::PLAN
    }

    #[test]
    fn runs_are_short_where_parts_are_many() {
        let (plan, place) = (plan(), Place::Work(Element::F32));
        let graph = Graph::new(&plan);
        for (splits, expected) in
            [(MANY - 1, vec![1024, 176, 300]), (MANY, [vec![128; 9], vec![48, 128, 128, 44]].concat())]
        {
            let parts = [Some(Parts { place, splits: 1 }), Some(Parts { place, splits })];
            let runs = runs(&plan, &graph, &parts, |_| true);
            let lens: Vec<usize> = runs.iter().map(|run| run.range.len()).collect();
            assert_eq!(lens, [vec![8], expected].concat());
            let ends = runs.iter().map(|run| run.range.end);
            assert!(runs.iter().skip(1).map(|run| run.range.start).eq(ends.take(runs.len() - 1)));
        }
    }

    #[test]
    fn gradients_may_lie_beyond_16_gib() {
        let run = Run { range: 2048..2058, operation: 0, l2: 1.0 };
        let at = (5 << 32) + 7;
        assert_eq!(run.words(at, 3, 1000), [2048, 10, 7, 3, 1000, 1f32.to_bits(), 5, 0]);
    }
}
