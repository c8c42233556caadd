//! What a network does on a GPU, to be looked at where there is none.

use super::backend::{Argument, Launch, Memory, Properties, Role, Span};
use super::choices::Choices;
use super::nvrtc::Nvrtc;
use super::program::{Kind, Recipe, Set, Writer, graph};
use super::source::{Source, Target};
use crate::engine::Precision;
use crate::plan::Plan;
use crate::train::{Loss, Optimizer};
use crate::{Error, Result};

/// The kernels and launches of a network: a training step, an evaluation, a prediction and a pulled back gradient, each
/// of as many images.
///
/// ```
/// use convnet::engine::cuda::Listing;
/// use convnet::engine::Precision;
/// use convnet::prelude::*;
///
/// convnet! { type Tiny = [Input(8, 8, 1), Conv2D(4, 3, activation = "relu"), Flatten(), Dense(2, activation = "softmax")]; }
///
/// let (optimizer, loss) = (RmsProp::default().into(), CategoricalCrossentropy::default().into());
/// let listing = Listing::new(&Tiny::PLAN, &optimizer, &loss, 32, Precision::Tf32);
/// assert!(listing.training_step()[0].starts_with("gather "));
/// assert!(listing.source().contains("convolve_forward"));
/// ```
pub struct Listing {
    source: Source,
    recipes: Vec<Recipe>,
}

/// A GPU as they are in computing centres.
const PROPERTIES: Properties = Properties { multiprocessors: 132, tensor_cores: true };

impl Listing {
    /// The launches on a GPU of 132 multiprocessors with tensor cores.
    pub fn new(plan: &Plan, optimizer: &Optimizer, loss: &Loss, images: usize, precision: Precision) -> Listing {
        let graph = graph(plan);
        let mut writer = Writer {
            plan,
            graph: &graph,
            properties: PROPERTIES,
            precision,
            choices: &Choices::default(),
            optimizer,
            loss,
            seed: 0,
            source: Source::default(),
            tables: Vec::new(),
        };
        let set = |role, order| Set { role, bytes: true, images: 10 * images, order };
        let kinds = [
            Kind::Train { set: set(Role::Training, 10 * images), images },
            Kind::Evaluate { set: set(Role::Validation, 0), images },
            Kind::Predict { images },
            Kind::PullBack { images },
        ];
        let recipes = kinds.map(|kind| writer.recipe(kind)).into();
        Listing { source: writer.source, recipes }
    }

    /// The kernels as CUDA C++.
    pub fn source(&self) -> String {
        self.source.text(Target::Device)
    }

    /// Compiles the kernels by NVRTC for GPUs of this compute capability, for 9.0 as `(9, 0)`: how many bytes they are.
    ///
    /// # Errors
    /// [`Error::Cuda`] without NVRTC, or with what it says of the kernels.
    pub fn compile(&self, capability: (i32, i32)) -> Result<usize> {
        let (major, minor) = capability;
        Ok(Nvrtc::find(i32::MAX)?.compile(&self.source(), (major, minor))?.len())
    }

    /// The launches of a training step in their order, a line each: the kernel, its grid and its block.
    pub fn training_step(&self) -> Vec<String> {
        let line = |launch: &Launch| {
            let (kernel, [x, y, z]) = (&self.source.kernels()[launch.kernel], launch.grid);
            format!("{} {x}×{y}×{z} blocks of {} threads", kernel.template, kernel.threads)
        };
        self.recipes.first().map_or_else(Vec::new, |recipe| recipe.launches.iter().map(line).collect())
    }

    /// Bytes that a training step works in.
    pub fn work(&self) -> usize {
        self.recipes.first().map_or(0, |recipe| recipe.work)
    }

    /// Whether the launches go together: every byte of the working memory that one reads, the host or an earlier launch
    /// has written, and no launch writes what it also reads or writes through another argument, or beyond the
    /// memory.
    ///
    /// # Errors
    /// [`Error::Cuda`] naming the first kernel that does otherwise.
    pub fn check(&self) -> Result<()> {
        self.recipes.iter().try_for_each(|recipe| self.check_recipe(recipe))
    }

    fn check_recipe(&self, recipe: &Recipe) -> Result<()> {
        // Written stretches of the working memory, apart and in order.
        let mut written = Stretches::default();
        for span in [recipe.input, recipe.d_output] {
            written.add(span.at, span.at + span.bytes);
        }
        for launch in &recipe.launches {
            let template = self.source.kernels()[launch.kernel].template;
            let fail = |what: &str, span: &Span| Err(Error::Cuda(format!("{template} {what}: {span:?}")));
            let work = |argument: &&Argument| argument.place().is_some_and(|span| span.memory == Memory::Work);
            for argument in launch.arguments.iter().filter(work) {
                let Some(span) = argument.place() else { continue };
                if span.at + span.bytes > recipe.work {
                    return fail("goes beyond the memory", span);
                }
                // What is found through a table is not known here.
                let whole = span.at == 0 && span.bytes == recipe.work;
                if matches!(argument, Argument::Read(_)) && !whole && !written.has(span.at, span.at + span.bytes) {
                    return fail("reads what nobody wrote", span);
                }
            }
            for (i, argument) in launch.arguments.iter().enumerate().filter(|(_, a)| matches!(a, Argument::Write(_))) {
                let Some(span) = argument.place() else { continue };
                let clash = |other: &Argument| {
                    other.place().is_some_and(|other| {
                        let whole = other.at == 0 && other.bytes == recipe.work;
                        !whole && other.overlaps(span)
                    })
                };
                if launch.arguments.iter().enumerate().any(|(j, other)| i != j && clash(other)) {
                    return fail("writes what it also has as another argument", span);
                }
            }
            for argument in launch.arguments.iter().filter(work).filter(|argument| argument.writes()) {
                if let Some(span) = argument.place() {
                    written.add(span.at, span.at + span.bytes);
                }
            }
        }
        Ok(())
    }
}

/// Stretches of numbers.
#[derive(Default)]
struct Stretches(Vec<(usize, usize)>);

impl Stretches {
    fn add(&mut self, mut start: usize, mut end: usize) {
        if start == end {
            return;
        }
        self.0.retain(|&(from, to)| {
            let touches = from <= end && start <= to;
            if touches {
                (start, end) = (start.min(from), end.max(to));
            }
            !touches
        });
        self.0.push((start, end));
    }

    fn has(&self, start: usize, end: usize) -> bool {
        start == end || self.0.iter().any(|&(from, to)| from <= start && end <= to)
    }
}
