//! Real numbers among the values, and the ranges that they have to be in.

use super::{Reader, compact_text, describe, mentions, peel};
use crate::layer::Real;
use crate::value::Scope;
use quote::ToTokens;
use syn::{BinOp, Expr, ExprLit, Lit, UnOp};

/// What a number has to be.
pub struct Range {
    holds: fn(f64) -> bool,
    expected: &'static str,
}

/// Any number.
pub const FINITE: Range = Range { holds: f64::is_finite, expected: "a finite number" };
/// A number from 0 on.
pub const NOT_NEGATIVE: Range =
    Range { holds: |number| number >= 0.0 && number.is_finite(), expected: "a number from 0 on" };
/// A number above 0.
pub const POSITIVE: Range = Range { holds: |number| number > 0.0 && number.is_finite(), expected: "a number above 0" };
/// A share.
pub const SHARE: Range = Range { holds: |number| matches!(number, 0.0..=1.0), expected: "a share from 0 to 1" };
/// A share that leaves something.
pub const RATE: Range =
    Range { holds: |number| matches!(number, 0.0..1.0), expected: "a share from 0 up to, but not including, 1" };

impl Reader<'_> {
    /// A real number: a literal, or an expression of constants for the compiler to evaluate. A wrong one is read as
    /// `default`.
    pub fn real(&self, parameter: &str, value: &Expr, default: f64, range: &Range) -> Real {
        let peeled = peel(value);
        match evaluate(peeled) {
            Some(number) if (range.holds)(number) => return Real::Known(number),
            Some(number) => {
                let text = compact_text(peeled).replacen("- ", "-", 1);
                let sentence = format!("`{parameter}` is {text}; it must be {}", range.expected);
                match likely(parameter, number) {
                    Some(meant) => self.complain_and_help(value, &sentence, &format!("did you mean {meant}?")),
                    None => self.complain(value, &sentence),
                }
            }
            None if self.is_open(peeled) => match self.generic_in(value) {
                Some(name) => {
                    let sentence = format!("`{parameter}` is a real number, and the const generic `{name}` a `usize`");
                    self.complain_and_help(value, &sentence, "write a number, or a constant of type `f64`");
                }
                None => return Real::Constant(Box::new(peeled.clone())),
            },
            None => self.complain(value, &format!("`{parameter}` must be a number, not {}", describe(peeled))),
        }
        Real::Known(default)
    }

    /// The const generic of the item that an expression uses.
    fn generic_in(&self, value: &Expr) -> Option<&syn::Ident> {
        match self.scope {
            Scope::Item { generics } => generics.iter().find(|name| mentions(value.to_token_stream(), name)),
            Scope::Type => None,
        }
    }
}

/// The share that was meant by a percentage.
fn likely(parameter: &str, number: f64) -> Option<f64> {
    let share = matches!(parameter, "rate" | "momentum");
    (share && (2.0..100.0).contains(&number)).then_some(number / 100.0)
}

/// The number that a literal, or arithmetic on literals, gives: Python's, where `1 / 255` is no whole number.
pub fn evaluate(value: &Expr) -> Option<f64> {
    match peel(value) {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_digits().parse().ok(),
        Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => number.base10_digits().parse().ok(),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => evaluate(&unary.expr).map(|number| -number),
        Expr::Binary(binary) => {
            let (left, right) = (evaluate(&binary.left)?, evaluate(&binary.right)?);
            match binary.op {
                BinOp::Add(_) => Some(left + right),
                BinOp::Sub(_) => Some(left - right),
                BinOp::Mul(_) => Some(left * right),
                BinOp::Div(_) => Some(left / right),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_numbers_as_in_python() {
        let number = |text: &str| evaluate(&syn::parse_str(text).expect("an expression"));
        assert_eq!(number("1 / 255"), Some(1.0 / 255.0));
        assert_eq!(number("-(2.5e-1 + 1)"), Some(-1.25));
        assert_eq!(number("1. / 127.5"), Some(1.0 / 127.5));
        assert_eq!(number("K"), None);
    }
}
