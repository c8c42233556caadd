//! What the kernel `update` is told of an optimizer (see `kernels/update.cuh`): which rule it follows, the numbers that
//! the CPU's rules prepare, and the hyperparameters.

use super::source::Constant::{self, Bool, Float, Int};
use super::source::Constants;
use crate::train::Optimizer;
use crate::train::optimizer::check::complement;
use crate::train::optimizer::sweep::{Floor, TINY};
use crate::train::optimizer::{Adam, RmsProp, Sgd};

/// The constants of `update` but for `PARAMS`, and its arguments `rate` and `a` to `d`. The constants do not depend on
/// the learning rate, which may change while a program runs.
pub(super) fn constants(optimizer: &Optimizer) -> (Constants, [f32; 5]) {
    let mut constants = vec![("TINY", Float(TINY))];
    let arguments = match *optimizer {
        Optimizer::Sgd(Sgd { learning_rate, momentum, nesterov }) => {
            constants.extend([("KIND", Int(0)), ("MOMENTUM", Bool(momentum != 0.0)), ("NESTEROV", Bool(nesterov))]);
            [learning_rate, momentum, 0.0, 0.0, 0.0]
        }
        Optimizer::RmsProp(RmsProp { learning_rate, rho, momentum, epsilon, centered }) => {
            constants.extend([("KIND", Int(1)), ("MOMENTUM", Bool(momentum > 0.0)), ("CENTERED", Bool(centered))]);
            // ε stands under the root.
            constants.extend(floor(epsilon.sqrt()));
            [learning_rate, rho, complement(rho) as f32, momentum, epsilon]
        }
        Optimizer::Adam(adam) => with_moments(&mut constants, &adam, 0.0),
        Optimizer::AdamW(adam_w) => with_moments(&mut constants, &adam_w.adam(), adam_w.weight_decay),
    };
    (constants, arguments)
}

/// What both Adams have.
fn with_moments(constants: &mut Constants, adam: &Adam, weight_decay: f32) -> [f32; 5] {
    let Adam { learning_rate, beta_1, beta_2, epsilon } = *adam;
    let fresh = |beta| Float(complement(beta) as f32);
    constants.extend([("KIND", Int(2)), ("FRESH_1", fresh(beta_1)), ("FRESH_2", fresh(beta_2))]);
    constants.extend(floor(epsilon));
    [learning_rate, beta_1, beta_2, epsilon, weight_decay]
}

/// Where averages of squares count as zero, their root standing beside `epsilon`.
fn floor(epsilon: f32) -> [(&'static str, Constant); 2] {
    let Floor { root, square } = Floor::beside(epsilon);
    [("FLOOR", Float(root)), ("FLOOR_SQUARE", Float(square))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::optimizer::AdamW;

    fn constant(optimizer: impl Into<Optimizer>, name: &str) -> Option<Constant> {
        let (constants, _) = constants(&optimizer.into());
        let found: Vec<_> = constants.iter().filter(|(known, _)| *known == name).collect();
        assert!(found.len() < 2, "{name} is there twice");
        found.first().map(|(_, constant)| *constant)
    }

    #[test]
    fn rules_have_numbers_of_their_own() {
        let kinds = [
            constant(Sgd::default(), "KIND"),
            constant(RmsProp::default(), "KIND"),
            constant(Adam::default(), "KIND"),
            constant(AdamW::default(), "KIND"),
        ];
        assert_eq!(kinds, [0, 1, 2, 2].map(|kind| Some(Int(kind))));
    }

    #[test]
    fn momentum_is_a_slot_only_where_there_is_some() {
        let sgd = Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() };
        assert_eq!(constant(sgd, "MOMENTUM"), Some(Bool(true)));
        assert_eq!(constant(sgd, "NESTEROV"), Some(Bool(true)));
        assert_eq!(constant(Sgd::default(), "MOMENTUM"), Some(Bool(false)));
        let rms = RmsProp { momentum: 0.5, centered: true, ..RmsProp::default() };
        assert_eq!(constant(rms, "MOMENTUM"), Some(Bool(true)));
        assert_eq!(constant(rms, "CENTERED"), Some(Bool(true)));
        assert_eq!(constant(RmsProp::default(), "MOMENTUM"), Some(Bool(false)));
    }

    #[test]
    fn complements_are_those_of_the_decimal_numbers() {
        assert_eq!(constant(Adam::default(), "FRESH_1"), Some(Float(0.1)));
        assert_eq!(constant(Adam::default(), "FRESH_2"), Some(Float(0.001)));
        let (_, arguments) = constants(&RmsProp { momentum: 0.5, ..RmsProp::default() }.into());
        assert_eq!(arguments, [0.001, 0.9, 0.1, 0.5, 1e-7]);
    }

    #[test]
    fn arguments_stand_in_the_order_that_the_kernel_has() {
        let adam_w = AdamW { learning_rate: 1.0, beta_1: 0.5, beta_2: 0.25, epsilon: 0.125, weight_decay: 2.0 };
        assert_eq!(constants(&adam_w.into()).1, [1.0, 0.5, 0.25, 0.125, 2.0]);
        assert_eq!(constants(&adam_w.adam().into()).1, [1.0, 0.5, 0.25, 0.125, 0.0]);
        assert_eq!(constants(&Sgd { learning_rate: 0.1, momentum: 0.9, nesterov: false }.into()).1[..2], [0.1, 0.9]);
    }

    #[test]
    fn floors_follow_from_epsilon() {
        let least = 2f32.powi(-50);
        for (epsilon, root) in [(1e-3, least), (2f32.powi(-24), 2f32.powi(-54))] {
            let adam = Adam { epsilon, ..Adam::default() };
            assert_eq!(constant(adam, "FLOOR"), Some(Float(root)));
            assert_eq!(constant(adam, "FLOOR_SQUARE"), Some(Float(root * root)));
            // RMSprop's stands under a root.
            let rms = RmsProp { epsilon: epsilon * epsilon, ..RmsProp::default() };
            assert_eq!(constant(rms, "FLOOR"), Some(Float(root)));
        }
        assert_eq!(constant(Sgd::default(), "FLOOR"), None);
    }

    #[test]
    fn the_learning_rate_changes_no_kernel() {
        for mut optimizer in [Sgd::default().into(), RmsProp::default().into(), Optimizer::from(Adam::default())] {
            let (before, _) = constants(&optimizer);
            optimizer.set_learning_rate(0.125).unwrap();
            let (after, arguments) = constants(&optimizer);
            assert_eq!(before, after);
            assert_eq!(arguments[0], 0.125);
        }
    }
}
