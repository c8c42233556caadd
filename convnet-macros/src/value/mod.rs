//! Values of arguments: sizes, pairs, shapes, texts, switches.
//!
//! Each reader complains about what is no such value, with what it found, and gives something plausible instead.

use crate::error::{Complaint, Errors};
use crate::keras::SIGNATURES;
use crate::layer::{ACTIVATIONS, InputShape, Size};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{BinOp, Expr, ExprLit, ExprTuple, Ident, Lit, LitInt, Stmt, UnOp};

mod real;
mod settings;
mod text;

pub use real::{FINITE, NOT_NEGATIVE, POSITIVE, RATE, Range, SHARE};

/// The largest size: what fits 31 bits, as every index of a map or a vector must.
const LARGEST: usize = (1 << 31) - 1;

/// What a single identifier among the sizes is.
pub enum Scope {
    /// In an item: one of its generics, or else a constant.
    Item {
        /// The item's const generics.
        generics: Vec<Ident>,
    },
    /// Where a type stands: perhaps a const generic of the enclosing item.
    Type,
}

/// Reads the values of one layer.
pub struct Reader<'a> {
    /// The layer, for complaints.
    pub layer: &'a str,
    /// What identifiers mean.
    pub scope: &'a Scope,
    /// Where complaints go.
    pub errors: &'a Errors,
}

impl Reader<'_> {
    pub fn complain(&self, tokens: impl ToTokens, sentence: &str) {
        self.errors.on(tokens, format!("{}: {sentence}", self.layer));
    }

    pub fn complain_and_help(&self, tokens: impl ToTokens, sentence: &str, help: &str) {
        self.errors.on(tokens, Complaint::new(format!("{}: {sentence}", self.layer)).help(help));
    }

    /// A whole number of at least 1, as a literal or for the compiler to evaluate.
    pub fn size(&self, parameter: &str, value: &Expr) -> Size {
        self.size_from(1, parameter, "a whole number", value)
    }

    /// A number of rows or columns, which may be 0.
    pub fn margin(&self, parameter: &str, value: &Expr) -> Size {
        self.size_from(0, parameter, "a whole number", value)
    }

    fn size_from(&self, least: usize, parameter: &str, expected: &str, value: &Expr) -> Size {
        let peeled = peel(value);
        if let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = peeled
            && !matches!(number.suffix(), "" | "usize")
        {
            let help = format!("write `{}`", number.base10_digits());
            self.complain_and_help(value, &format!("`{parameter}` is a `usize`, not a `{}`", number.suffix()), &help);
            return Size::Faulty;
        }
        match evaluate(peeled) {
            Some(number) => self.known_size(least, parameter, value, number),
            None if self.is_open(peeled) => self.open_size(value, peeled),
            None => {
                let sentence = format!("`{parameter}` must be {expected}, not {}", describe(peeled));
                match self.misplaced(peeled) {
                    Some(meant) => self.complain_and_help(value, &sentence, &format!("write `{meant}`")),
                    None => self.complain(value, &sentence),
                }
                Size::Faulty
            }
        }
    }

    /// `"same"` or `"relu"` where a number is expected: what the argument would be by name.
    fn misplaced(&self, value: &Expr) -> Option<String> {
        let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value else { return None };
        let text = text.value();
        let parameter = match &text[..] {
            "valid" | "same" if self.has("padding") => "padding",
            name if ACTIVATIONS.contains(&name) && self.has("activation") => "activation",
            _ => return None,
        };
        Some(format!("{parameter} = {text:?}"))
    }

    /// Whether the layer has such a parameter.
    fn has(&self, parameter: &str) -> bool {
        SIGNATURES.iter().any(|row| row.layer == self.layer && row.parameters.contains(&parameter))
    }

    fn known_size(&self, least: usize, parameter: &str, value: &Expr, number: i128) -> Size {
        match usize::try_from(number) {
            Ok(size) if (least..=LARGEST).contains(&size) => return Size::Known(size),
            _ if number < least as i128 => {
                self.complain(value, &format!("`{parameter}` is {number}; it must be at least {least}"));
            }
            _ => {
                let number = compact_text(value);
                self.complain(value, &format!("`{parameter}` is {number}; a size is at most {LARGEST}"));
            }
        }
        Size::Faulty
    }

    /// Whether the compiler may be able to make a number of it.
    fn is_open(&self, value: &Expr) -> bool {
        match value {
            Expr::Path(path) => !["True", "False", "None"].iter().any(|word| path.path.is_ident(word)),
            Expr::Unary(unary) => matches!(unary.op, UnOp::Deref(_)),
            Expr::Binary(_) | Expr::Block(_) | Expr::Call(_) | Expr::Cast(_) | Expr::Const(_) | Expr::Field(_) => true,
            Expr::If(_) | Expr::Index(_) | Expr::Macro(_) | Expr::Match(_) | Expr::MethodCall(_) => true,
            _ => false,
        }
    }

    fn open_size(&self, value: &Expr, peeled: &Expr) -> Size {
        let single = match peeled {
            Expr::Path(path) => path.path.get_ident(),
            _ => None,
        };
        match (self.scope, single) {
            (Scope::Type, Some(name)) => Size::Generic(name.clone()),
            (Scope::Item { generics }, Some(name)) if generics.contains(name) => Size::Generic(name.clone()),
            (Scope::Item { generics }, _) => match generics.iter().find(|name| mentions(value.to_token_stream(), name))
            {
                Some(name) => {
                    let sentence = format!("the const generic `{name}` can stand alone only");
                    self.complain_and_help(
                        value,
                        &sentence,
                        "stable Rust does not compute with const generics; make the result a const generic of its own",
                    );
                    Size::Faulty
                }
                None => Size::Constant(Box::new(peeled.clone())),
            },
            (Scope::Type, None) => Size::Constant(Box::new(peeled.clone())),
        }
    }

    /// `(height, width)`, or one number for both.
    pub fn pair(&self, parameter: &str, value: &Expr) -> [Size; 2] {
        match peel(value) {
            Expr::Tuple(ExprTuple { elems, .. }) if elems.len() == 2 => {
                [self.size(parameter, &elems[0]), self.size(parameter, &elems[1])]
            }
            Expr::Tuple(ExprTuple { elems, .. }) => {
                let sentence =
                    format!("`{parameter}` is one number or a pair (height, width), not a tuple of {}", elems.len());
                self.complain(value, &sentence);
                [Size::Faulty, Size::Faulty]
            }
            _ => {
                let size = self.size_from(1, parameter, "a whole number or a pair such as `(3, 3)`", value);
                [size.clone(), size]
            }
        }
    }

    /// `(28, 28, 1)`, or the number of features of a vector.
    pub fn shape(&self, value: &Expr) -> InputShape {
        match peel(value) {
            Expr::Tuple(ExprTuple { elems, .. }) => self.shape_of(value, &elems.iter().collect::<Vec<_>>()),
            Expr::Array(list) => {
                let elements = &list.elems;
                let help = format!("write `({})`", crate::layer::compact(elements.to_token_stream()));
                self.complain_and_help(value, "a shape stands in parentheses", &help);
                InputShape::Faulty
            }
            single => self.shape_of(value, &[single]),
        }
    }

    /// The shape of these sizes, given by these tokens.
    pub fn shape_of(&self, tokens: impl ToTokens, sizes: &[&Expr]) -> InputShape {
        match sizes {
            [height, width, channels] => InputShape::Map([
                self.input_size("height", height),
                self.input_size("width", width),
                self.input_size("channels", channels),
            ]),
            [features] => InputShape::Vector(self.input_size("features", features)),
            _ => {
                let sentence =
                    format!("an input has three sizes (height, width, channels) or one, not {}", sizes.len());
                let help = match sizes.len() {
                    2 => "a grey image has one channel: `(28, 28, 1)`",
                    4 => "leave out the batch; its size is chosen when the network is trained",
                    _ => "images: `Input(28, 28, 1)`; vectors: `Input(784)`",
                };
                self.complain_and_help(tokens, &sentence, help);
                InputShape::Faulty
            }
        }
    }

    /// A size of an input, which a block leaves open with `None`.
    fn input_size(&self, parameter: &str, value: &Expr) -> Size {
        if is_none(value) { Size::Any } else { self.size(parameter, value) }
    }

    /// `(7, 7, 64)` or `(3136,)`; and the place of a size that is -1.
    pub fn target(&self, value: &Expr) -> (InputShape, Option<usize>) {
        let elements: Vec<&Expr> = match peel(value) {
            Expr::Tuple(ExprTuple { elems, .. }) => elems.iter().collect(),
            single => vec![single],
        };
        let inferred = elements.iter().position(|size| evaluate(size) == Some(-1));
        let size = |place: usize| match elements[place] {
            _ if inferred == Some(place) => Size::Faulty,
            size => self.size("target_shape", size),
        };
        let target = match elements.len() {
            3 => InputShape::Map([size(0), size(1), size(2)]),
            1 => match size(0) {
                // What is no size at all may have been meant as a map.
                Size::Faulty if inferred.is_none() && !matches!(peel(value), Expr::Tuple(_)) => InputShape::Faulty,
                features => InputShape::Vector(features),
            },
            count => {
                let sentence = format!("`target_shape` has three sizes (height, width, channels) or one, not {count}");
                self.complain_and_help(value, &sentence, "write `(7, 7, 64)` for a map, `(3136,)` for a vector");
                InputShape::Faulty
            }
        };
        (target, inferred)
    }

    /// Keras's three forms of margins: one number, `(vertical, horizontal)`, `((top, bottom), (left, right))`.
    pub fn margins(&self, value: &Expr) -> [Size; 4] {
        let faulty = || [Size::Faulty, Size::Faulty, Size::Faulty, Size::Faulty];
        let forms = "a number, a pair (vertical, horizontal), or ((top, bottom), (left, right))";
        match peel(value) {
            Expr::Tuple(ExprTuple { elems, .. }) if elems.len() == 2 => {
                let sides = |side: &Expr| match peel(side) {
                    Expr::Tuple(ExprTuple { elems, .. }) if elems.len() == 2 => {
                        [self.margin("padding", &elems[0]), self.margin("padding", &elems[1])]
                    }
                    Expr::Tuple(tuple) => {
                        self.complain(side, &format!("`padding` is {forms}, not a tuple of {}", tuple.elems.len()));
                        [Size::Faulty, Size::Faulty]
                    }
                    both => {
                        let both = self.margin("padding", both);
                        [both.clone(), both]
                    }
                };
                let ([top, bottom], [left, right]) = (sides(&elems[0]), sides(&elems[1]));
                [top, bottom, left, right]
            }
            Expr::Tuple(tuple) => {
                self.complain(value, &format!("`padding` is {forms}, not a tuple of {}", tuple.elems.len()));
                faulty()
            }
            Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => {
                self.complain(value, &format!("`padding` is {forms}, not {}", describe(value)));
                faulty()
            }
            _ => {
                let size = self.size_from(0, "padding", "a whole number, a pair, or two pairs", value);
                [size.clone(), size.clone(), size.clone(), size]
            }
        }
    }

    /// `true` or `false`.
    pub fn switch(&self, parameter: &str, value: &Expr, default: bool) -> bool {
        match peel(value) {
            Expr::Lit(ExprLit { lit: Lit::Bool(switch), .. }) => return switch.value,
            Expr::Path(path) if path.path.is_ident("True") || path.path.is_ident("False") => {
                let python = compact_text(value);
                let help = format!("write `{parameter} = {}`", python.to_lowercase());
                self.complain_and_help(value, &format!("`{python}` is Python's spelling"), &help);
                return python == "True";
            }
            other => self.complain(value, &format!("`{parameter}` must be `true` or `false`, not {}", describe(other))),
        }
        default
    }
}

/// Whether a value is Python's `None`.
pub fn is_none(value: &Expr) -> bool {
    matches!(peel(value), Expr::Path(path) if path.path.is_ident("None"))
}

/// The number that a literal, or arithmetic on literals, gives.
pub fn evaluate(value: &Expr) -> Option<i128> {
    match peel(value) {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => Some(saturating(number)),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => evaluate(&unary.expr)?.checked_neg(),
        Expr::Binary(binary) => {
            let (left, right) = (evaluate(&binary.left)?, evaluate(&binary.right)?);
            match binary.op {
                BinOp::Add(_) => left.checked_add(right),
                BinOp::Sub(_) => left.checked_sub(right),
                BinOp::Mul(_) => left.checked_mul(right),
                BinOp::Div(_) => left.checked_div(right),
                BinOp::Rem(_) => left.checked_rem(right),
                _ => None,
            }
        }
        _ => None,
    }
}

fn saturating(number: &LitInt) -> i128 {
    number.base10_parse().unwrap_or(i128::MAX)
}

/// The value without parentheses, braces, and the invisible brackets of `macro_rules`.
fn peel(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => peel(&group.expr),
        Expr::Paren(paren) => peel(&paren.expr),
        Expr::Block(block) if block.label.is_none() => match &block.block.stmts[..] {
            [Stmt::Expr(inner, None)] => peel(inner),
            _ => value,
        },
        _ => value,
    }
}

/// Whether a token is this identifier.
fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        _ => false,
    })
}

fn compact_text(value: &Expr) -> String {
    crate::layer::compact(value.to_token_stream())
}

/// What a value is, for a sentence that ends with "not …".
fn describe(value: &Expr) -> String {
    let text = compact_text(value);
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(_), .. }) => format!("the text `{text}`"),
        Expr::Lit(ExprLit { lit: Lit::Float(_), .. }) => format!("the decimal number `{text}`"),
        Expr::Lit(ExprLit { lit: Lit::Int(_), .. }) => format!("the number `{text}`"),
        Expr::Tuple(tuple) => format!("a tuple of {}", tuple.elems.len()),
        Expr::Array(_) => "a list".to_string(),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => format!("`{}`", text.replacen("- ", "-", 1)),
        _ => format!("`{text}`"),
    }
}
