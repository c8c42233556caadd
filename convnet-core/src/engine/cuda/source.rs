//! The kernels of a program as C++: templates of our own, each filled with the sizes of one layer.
//!
//! A template, `kernels/*.cuh`, takes its sizes from a struct of constants, so that the compiler unrolls loops and
//! divides by known numbers. [`Source::text`] writes one struct and one entry point for each kernel of a program:
//!
//! ```text
//! struct P3 { static constexpr int HEIGHT = 26; … };
//! extern "C" __global__ void __launch_bounds__(256, 1) k3(const float *a0, float *a1, int a2) { forward<P3>(a0, a1, a2); }
//! ```

use super::state::State;
use std::fmt::Write;
use std::ops::Range;

/// What is common to all machines, and the templates.
const COMMON: [&str; 17] = [
    include_str!("kernels/common.cuh"),
    include_str!("kernels/few.cuh"),
    include_str!("kernels/gather.cuh"),
    include_str!("kernels/product_tiles.cuh"),
    include_str!("kernels/product_load.cuh"),
    include_str!("kernels/product.cuh"),
    include_str!("kernels/maps.cuh"),
    include_str!("kernels/pooling.cuh"),
    include_str!("kernels/global_pooling.cuh"),
    include_str!("kernels/resizing.cuh"),
    include_str!("kernels/depthwise.cuh"),
    include_str!("kernels/normalization.cuh"),
    include_str!("kernels/activations.cuh"),
    include_str!("kernels/dropout.cuh"),
    include_str!("kernels/merge.cuh"),
    include_str!("kernels/loss.cuh"),
    include_str!("kernels/update.cuh"),
];

/// Kernels in a file that is compiled by itself: the templates take the compiler as long as a few of them.
const TOGETHER: usize = 6;

/// A constant of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Constant {
    Int(i64),
    Float(f32),
    Bool(bool),
}

/// The constants of a kernel, by name.
pub(super) type Constants = Vec<(&'static str, Constant)>;

/// What an argument points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    U8,
    U32,
    /// The one `State` that goes on from step to step.
    State,
}

impl Element {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Element::U8 => 1,
            Element::F32 | Element::U32 => 4,
            Element::F64 => 8,
            Element::State => size_of::<State>(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Element::F32 => "float",
            Element::F64 => "double",
            Element::U8 => "u8",
            Element::U32 => "u32",
            Element::State => "State",
        }
    }
}

/// The type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentType {
    /// To be read.
    Const(Element),
    /// To be written, or both.
    Mut(Element),
    Int,
    Long,
    Float,
}

impl ArgumentType {
    fn name(self) -> String {
        match self {
            ArgumentType::Const(element) => format!("const {} *", element.name()),
            ArgumentType::Mut(element) => format!("{} *", element.name()),
            ArgumentType::Int => "int ".to_owned(),
            ArgumentType::Long => "u64 ".to_owned(),
            ArgumentType::Float => "float ".to_owned(),
        }
    }
}

/// A template with its constants.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kernel {
    /// The template's name.
    pub template: &'static str,
    pub constants: Constants,
    /// Threads of a block.
    pub threads: u32,
    /// Blocks for which a multiprocessor is to have registers.
    pub resident: u32,
    pub arguments: Vec<ArgumentType>,
}

/// Whom a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// NVRTC.
    Device,
    #[cfg(feature = "cuda-host")]
    /// A C++ compiler: the entry points take the grid and pointers to the arguments.
    Host,
}

/// The kernels of a program, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    kernels: Vec<Kernel>,
}

impl Source {
    /// The number of this kernel, which is added if it is new.
    pub fn add(&mut self, kernel: Kernel) -> usize {
        self.kernels.iter().position(|known| *known == kernel).unwrap_or_else(|| {
            self.kernels.push(kernel);
            self.kernels.len() - 1
        })
    }

    /// The kernels by their numbers.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// The name of a kernel's entry point.
    pub fn name(number: usize) -> String {
        format!("k{number}")
    }

    /// The whole as one file.
    pub fn text(&self, target: Target) -> String {
        self.part(target, 0..self.kernels.len())
    }

    /// The kernels in several files, which can be compiled at the same time: which they are, and the text. What is in a file
    /// does not depend on the machine, so that it is found again in a cache.
    pub fn parts(&self) -> Vec<(Range<usize>, String)> {
        let starts = (0..self.kernels.len()).step_by(TOGETHER);
        let ranges = starts.map(|start| start..self.kernels.len().min(start + TOGETHER));
        ranges.map(|range| (range.clone(), self.part(Target::Device, range))).collect()
    }

    fn part(&self, target: Target, kernels: Range<usize>) -> String {
        let machine = match target {
            Target::Device => include_str!("kernels/device.cuh"),
            #[cfg(feature = "cuda-host")]
            Target::Host => include_str!("kernels/host.cuh"),
        };
        let mut text = [machine].into_iter().chain(COMMON).collect::<Vec<_>>().join("\n");
        for number in kernels {
            self.kernels[number].write(&mut text, number, target);
        }
        text
    }
}

impl Kernel {
    fn write(&self, text: &mut String, number: usize, target: Target) {
        let name = Source::name(number);
        let constants: String = self.constants.iter().map(|(name, constant)| constant.declaration(name)).collect();
        let typed = |(i, argument): (usize, &ArgumentType)| format!("{}a{i}", argument.name());
        let parameters = self.arguments.iter().enumerate().map(typed).collect::<Vec<_>>().join(", ");
        let names = (0..self.arguments.len()).map(|i| format!("a{i}")).collect::<Vec<_>>().join(", ");
        let Kernel { template, threads, resident, .. } = self;
        let entry = match target {
            Target::Device => format!(
                "extern \"C\" __global__ void __launch_bounds__({threads}, {resident}) {name}({parameters}) {{ \
                 {template}<P{number}>({names}); }}\n"
            ),
            #[cfg(feature = "cuda-host")]
            Target::Host => {
                let taken = |(i, argument): (usize, &ArgumentType)| format!("*({}*)a[{i}]", argument.name());
                let taken = self.arguments.iter().enumerate().map(taken).collect::<Vec<_>>().join(", ");
                format!(
                    "static void {name}_thread(void **a) {{ {template}<P{number}>({taken}); }}\n\
                     extern \"C\" void {name}(const unsigned *grid, unsigned threads, void **a, int backwards) {{ \
                     emulator::launch({name}_thread, grid, threads, a, backwards); }}\n"
                )
            }
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "\nstruct P{number} {{ {constants}}};\n{entry}");
    }
}

impl Constant {
    fn declaration(self, name: &str) -> String {
        match self {
            Constant::Int(value) => format!("static constexpr int {name} = {value}; "),
            Constant::Bool(value) => format!("static constexpr bool {name} = {value}; "),
            // A float's shortest decimal number that means it, or its bits where there is none.
            Constant::Float(value) if value.is_finite() => {
                format!("static constexpr float {name} = {value:?}f; ")
            }
            Constant::Float(value) => {
                let bits = value.to_bits();
                format!("static constexpr float {name} = __builtin_bit_cast(float, {bits:#x}u); ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_each_kernel_once() {
        let mut source = Source::default();
        for size in 0..7 {
            let constants = vec![("SIZE", Constant::Int(size))];
            let kernel = Kernel { template: "join", constants, threads: 32, resident: 1, arguments: Vec::new() };
            assert_eq!(source.add(kernel.clone()), size as usize);
            assert_eq!(source.add(kernel), size as usize, "it is known");
        }
        let parts = source.parts();
        let kernels: Vec<usize> = parts.iter().flat_map(|(range, _)| range.clone()).collect();
        assert!(parts.len() > 1 && kernels.iter().copied().eq(0..7));
        for (range, text) in parts {
            (0..7).for_each(|k| assert_eq!(text.contains(&format!("join<P{k}>")), range.contains(&k)));
        }
        assert!(Source::default().parts().is_empty());
    }

    #[test]
    fn constants_mean_what_they_are() {
        let written = |value: f32| Constant::Float(value).declaration("X");
        assert_eq!(written(0.1), "static constexpr float X = 0.1f; ");
        assert_eq!(written(1e-7), "static constexpr float X = 1e-7f; ");
        assert_eq!(written(f32::INFINITY), "static constexpr float X = __builtin_bit_cast(float, 0x7f800000u); ");
    }
}
