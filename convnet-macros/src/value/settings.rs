//! Initialisers and regularisers: Keras's names, its classes, its short forms.

use super::{NOT_NEGATIVE, Reader, compact_text, describe, peel};
use crate::layer::Real;
use crate::suggest;
use syn::punctuated::Punctuated;
use syn::{Expr, ExprAssign, ExprLit, Lit, Token};

/// The initialisers: their names, and their classes, which are our types, too.
const INITIALIZERS: [(&str, &str); 8] = [
    ("glorot_uniform", "GlorotUniform"),
    ("glorot_normal", "GlorotNormal"),
    ("he_uniform", "HeUniform"),
    ("he_normal", "HeNormal"),
    ("lecun_uniform", "LecunUniform"),
    ("lecun_normal", "LecunNormal"),
    ("zeros", "Zeros"),
    ("ones", "Ones"),
];

/// What others call them.
const SYNONYMS: [(&str, &str); 8] = [
    ("xavier_uniform", "glorot_uniform"),
    ("xavier_normal", "glorot_normal"),
    ("kaiming_uniform", "he_uniform"),
    ("kaiming_normal", "he_normal"),
    ("uniform", "glorot_uniform"),
    ("normal", "glorot_normal"),
    ("zero", "zeros"),
    ("one", "ones"),
];

/// The factor of `"l2"` and `L2()`.
const USUAL_L2: f64 = 0.01;

impl Reader<'_> {
    /// The type of an initialiser: `"he_normal"`, `"HeNormal"`, `HeNormal()`.
    pub fn initializer(&self, parameter: &str, value: &Expr) -> Option<&'static str> {
        let (written, arguments) = match peel(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => (text.value(), None),
            other => match called(other) {
                Some((name, arguments)) => (name, Some(arguments)),
                None => {
                    let sentence = format!("`{parameter}` must be the name of an initializer, not {}", describe(other));
                    let usual = match parameter.split_once('_') {
                        Some(("kernel" | "depthwise" | "pointwise", _)) => "he_normal",
                        _ => "zeros",
                    };
                    self.complain_and_help(value, &sentence, &format!("write `{parameter} = \"{usual}\"`"));
                    return None;
                }
            },
        };
        let exact = INITIALIZERS.iter().find(|(name, class)| *name == written || *class == written);
        if let Some((_, class)) = exact {
            if arguments.is_some_and(|arguments| !arguments.is_empty()) {
                let sentence = format!("the initializer `{written}` takes no arguments here");
                self.complain_and_help(value, &sentence, "the model's seed decides: `Model::compile(…).seed(42)`");
            }
            return Some(class);
        }
        let names = INITIALIZERS.map(|(name, _)| name);
        let synonym = SYNONYMS.iter().find(|(other, _)| *other == written).map(|(_, name)| *name);
        let near = synonym.or_else(|| suggest::nearest(&written, names));
        let help = match near {
            Some(name) => format!("did you mean `\"{name}\"`?"),
            None => format!("there are {}", suggest::either(&names).replace(" or ", " and ")),
        };
        self.complain_and_help(value, &format!("unknown initializer {written:?}"), &help);
        None
    }

    /// The factor of a regulariser: `L2(0.001)`, `l2(0.001)`, `regularizers.l2(0.001)`, `"l2"`.
    pub fn regularizer(&self, parameter: &str, value: &Expr) -> Option<Real> {
        let (written, arguments) = match peel(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => (text.value(), Punctuated::new()),
            other => called(other).unwrap_or_else(|| (compact_text(other), Punctuated::new())),
        };
        let help = format!("write `{parameter} = L2(0.001)`");
        match &written.to_lowercase()[..] {
            "l2" => {}
            "l1" | "l1l2" | "l1_l2" | "l2l1" => {
                let sentence = format!("the regularizer `{written}` is not supported yet");
                self.complain_and_help(value, &sentence, &format!("there is L2: {help}"));
                return None;
            }
            _ => {
                let (sentence, help) = match peel(value) {
                    Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                        (format!("unknown regularizer {:?}", text.value()), help)
                    }
                    Expr::Call(_) | Expr::MethodCall(_) => (format!("unknown regularizer `{written}`"), help),
                    number if super::real::evaluate(number).is_some() => {
                        let sentence = format!("`{parameter}` must be a regularizer, not {}", describe(number));
                        (sentence, format!("write `{parameter} = L2({})`", compact_text(number)))
                    }
                    other => (format!("`{parameter}` must be a regularizer, not {}", describe(other)), help),
                };
                self.complain_and_help(value, &sentence, &help);
                return None;
            }
        }
        let mut factors = arguments.iter();
        let factor = match factors.next() {
            None => return Some(Real::Known(USUAL_L2)),
            Some(Expr::Assign(ExprAssign { left, right, .. })) if compact_text(left) == "l2" => right,
            Some(factor) => factor,
        };
        if let Some(more) = factors.next() {
            self.complain_and_help(more, "the regularizer `L2` has one factor", &help);
        }
        Some(self.real("l2", factor, 0.0, &NOT_NEGATIVE))
    }
}

/// The name and the arguments of `HeNormal()`, `initializers::HeNormal()`, `initializers.he_normal()`.
fn called(value: &Expr) -> Option<(String, Punctuated<Expr, Token![,]>)> {
    match value {
        Expr::Call(call) => match peel(&call.func) {
            Expr::Path(path) => path.path.segments.last().map(|last| (last.ident.to_string(), call.args.clone())),
            _ => None,
        },
        Expr::MethodCall(call) => Some((call.method.to_string(), call.args.clone())),
        _ => None,
    }
}
