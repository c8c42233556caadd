//! What both machines have to know of a list of launches: whether it makes sense, and which launch waits for which.

use super::backend::{Argument, Launch, Memory};
use super::source::{Element, Kernel};
use crate::Error;

/// Most blocks along x, y and z on any GPU.
const MOST_BLOCKS: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];

/// The error of who replays what is forgotten.
pub(super) fn forgotten() -> Error {
    Error::Cuda("a recording was replayed whose memory had been made anew".to_owned())
}

/// Bytes that the address of an element is a multiple of.
fn alignment(element: Element) -> usize {
    element.size().min(8)
}

/// Checks that launches fit their kernels, the grid and the memory, of which there are `bytes`; says what does not.
///
/// Nobody but this engine makes launches, but what a wrong one does is written nowhere: it is worth a look at each
/// when it is recorded.
pub(super) fn check(kernels: &[Kernel], launches: &[Launch], bytes: impl Fn(Memory) -> usize) -> Result<(), String> {
    for (number, launch) in launches.iter().enumerate() {
        let kernel =
            kernels.get(launch.kernel).ok_or_else(|| format!("launch {number}: no kernel {}", launch.kernel))?;
        let fault = |what: String| Err(format!("launch {number}, `{}`: {what}", kernel.template));
        if launch.grid.iter().zip(MOST_BLOCKS).any(|(&blocks, most)| blocks == 0 || blocks > most) {
            return fault(format!("a grid of {:?} blocks", launch.grid));
        }
        let kinds: Vec<_> = launch.arguments.iter().map(|argument| argument.kind()).collect();
        if kinds != kernel.arguments {
            return fault(format!("its arguments are {kinds:?}, those of the kernel {:?}", kernel.arguments));
        }
        for (place, span) in launch.arguments.iter().enumerate().filter_map(|(i, a)| Some((i, a.place()?))) {
            let there = bytes(span.memory);
            if span.at.checked_add(span.bytes).is_none_or(|end| end > there) {
                return fault(format!("argument {place}, {span:?}, is not inside the {there} bytes of that memory"));
            }
            if span.at % alignment(span.element) != 0 || span.bytes % span.element.size() != 0 {
                return fault(format!("argument {place}, {span:?}, is no run of whole elements at a place for them"));
            }
        }
    }
    Ok(())
}

/// The values of a launch's arguments, each at the beginning of its eight bytes, given where memories begin.
pub(super) fn values(launch: &Launch, address: impl Fn(Memory) -> u64) -> Vec<u64> {
    let four = |bytes: [u8; 4]| {
        let [a, b, c, d] = bytes;
        u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0])
    };
    let value = |argument: &Argument| match argument {
        Argument::Read(span) | Argument::Write(span) | Argument::Update(span) => address(span.memory) + span.at as u64,
        Argument::Int(value) => four(value.to_ne_bytes()),
        Argument::Long(value) => *value,
        Argument::Float(value) => four(value.to_ne_bytes()),
    };
    launch.arguments.iter().map(value).collect()
}

/// For each launch the earlier ones that it has to wait for, without those that one of the others waits for anyway.
pub(super) fn dependencies(launches: &[Launch]) -> Vec<Vec<usize>> {
    let words = launches.len().div_ceil(64);
    // All launches before, near and far, one bit each.
    let mut before: Vec<Vec<u64>> = Vec::with_capacity(launches.len());
    let mut all = Vec::with_capacity(launches.len());
    for (number, launch) in launches.iter().enumerate() {
        let (mut mine, mut edges) = (vec![0u64; words], Vec::new());
        // From the latest on: what an earlier one would add by a detour is known when its turn comes.
        for earlier in (0..number).rev() {
            if mine[earlier / 64] >> (earlier % 64) & 1 == 0 && launch.follows(&launches[earlier]) {
                edges.push(earlier);
                mine[earlier / 64] |= 1 << (earlier % 64);
                mine.iter_mut().zip(&before[earlier]).for_each(|(mine, theirs)| *mine |= theirs);
            }
        }
        before.push(mine);
        all.push(edges);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::backend::Span;
    use super::super::source::ArgumentType;
    use super::*;

    fn floats(at: usize, count: usize) -> Span {
        Span { memory: Memory::Work, element: Element::F32, at: 4 * at, bytes: 4 * count }
    }

    fn launch(arguments: Vec<Argument>) -> Launch {
        Launch { kernel: 0, grid: [1, 1, 1], arguments }
    }

    #[test]
    fn waits_only_where_a_chain_does_not_say_so() {
        let (a, b, c) = (floats(0, 8), floats(8, 8), floats(16, 8));
        let launches = [
            launch(vec![Argument::Write(a)]),
            launch(vec![Argument::Read(a), Argument::Write(b)]),
            launch(vec![Argument::Read(a), Argument::Write(c)]),
            launch(vec![Argument::Read(a), Argument::Read(b), Argument::Update(c)]),
            launch(vec![Argument::Write(a)]),
            launch(vec![Argument::Read(floats(7, 2))]),
        ];
        let expected: [&[usize]; 6] = [&[], &[0], &[0], &[2, 1], &[3], &[4]];
        assert_eq!(dependencies(&launches), expected);
    }

    /// Reachability by repeated closure, as the definition says.
    fn closure(edges: impl Fn(usize, usize) -> bool, n: usize) -> Vec<Vec<bool>> {
        let mut reach: Vec<Vec<bool>> = (0..n).map(|i| (0..n).map(|j| edges(i, j)).collect()).collect();
        for k in 0..n {
            for i in 0..n {
                for j in 0..n {
                    reach[i][j] |= reach[i][k] && reach[k][j];
                }
            }
        }
        reach
    }

    #[test]
    fn keeps_what_waits_for_what_with_the_fewest_edges() {
        let mut random = 1u64;
        let mut below = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % n
        };
        for n in [1, 2, 40, 130] {
            let mut argument = || match (floats(below(60), 1 + below(4)), below(4)) {
                (span, 0) => Argument::Write(span),
                (span, 1) => Argument::Update(span),
                (span, _) => Argument::Read(span),
            };
            let launches: Vec<_> = (0..n).map(|_| launch((0..3).map(|_| argument()).collect())).collect();
            let reduced = dependencies(&launches);
            let full = closure(|i, j| j < i && launches[i].follows(&launches[j]), n);
            assert_eq!(closure(|i, j| reduced[i].contains(&j), n), full, "{n}");
            for (i, edges) in reduced.iter().enumerate() {
                for &j in edges {
                    assert!(!edges.iter().any(|&k| full[k][j]), "{n}: {i} after {j} is said twice");
                }
            }
        }
    }

    #[test]
    fn finds_launches_that_do_not_fit() {
        let kernel = Kernel {
            template: "axpy",
            constants: Vec::new(),
            threads: 32,
            resident: 1,
            arguments: vec![ArgumentType::Mut(Element::F32), ArgumentType::Int],
        };
        let checked = |launch: Launch| check(std::slice::from_ref(&kernel), &[launch], |_| 64);
        let fits = launch(vec![Argument::Write(floats(8, 8)), Argument::Int(1)]);
        assert_eq!(checked(fits.clone()), Ok(()));
        let faults = [
            (Launch { kernel: 1, ..fits.clone() }, "launch 0: no kernel 1"),
            (Launch { grid: [1, 0, 1], ..fits.clone() }, "`axpy`: a grid of [1, 0, 1]"),
            (Launch { grid: [1, 1, 65_536], ..fits.clone() }, "a grid of"),
            (launch(vec![Argument::Read(floats(8, 8)), Argument::Int(1)]), "its arguments are [Const(F32), Int]"),
            (launch(vec![Argument::Write(floats(8, 9)), Argument::Int(1)]), "not inside the 64 bytes"),
            (
                launch(vec![Argument::Write(Span { at: usize::MAX - 3, ..floats(0, 1) }), Argument::Int(1)]),
                "not inside",
            ),
            (launch(vec![Argument::Write(Span { at: 2, ..floats(0, 8) }), Argument::Int(1)]), "no run of whole"),
            (launch(vec![Argument::Write(Span { bytes: 7, ..floats(0, 8) }), Argument::Int(1)]), "no run of whole"),
        ];
        for (launch, expected) in faults {
            let found = checked(launch).unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
    }
}
