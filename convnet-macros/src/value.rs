//! Values of arguments: sizes, pairs, shapes, texts, switches.
//!
//! Each reader complains about what is no such value, with what it found, and gives something plausible instead.

use crate::error::{Complaint, Errors};
use crate::layer::{ACTIVATIONS, Activation, InputShape, Padding, Size};
use crate::suggest;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{BinOp, Expr, ExprLit, ExprTuple, Ident, Lit, LitInt, Stmt, UnOp};

/// The largest size: what fits 31 bits, as every index of a map or a vector must.
const LARGEST: usize = (1 << 31) - 1;

/// The longest name in bytes: what fits the type that carries it.
const LONGEST_NAME: usize = 64;

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
    fn complain(&self, tokens: impl ToTokens, sentence: &str) {
        self.errors.on(tokens, format!("{}: {sentence}", self.layer));
    }

    fn complain_and_help(&self, tokens: impl ToTokens, sentence: &str, help: &str) {
        self.errors.on(tokens, Complaint::new(format!("{}: {sentence}", self.layer)).help(help));
    }

    /// A whole number of at least 1, as a literal or for the compiler to evaluate.
    pub fn size(&self, parameter: &str, value: &Expr) -> Size {
        self.size_or(parameter, "a whole number", value)
    }

    fn size_or(&self, parameter: &str, expected: &str, value: &Expr) -> Size {
        let peeled = peel(value);
        if let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = peeled
            && !matches!(number.suffix(), "" | "usize")
        {
            let help = format!("write `{}`", number.base10_digits());
            self.complain_and_help(value, &format!("`{parameter}` is a `usize`, not a `{}`", number.suffix()), &help);
            return Size::Faulty;
        }
        match evaluate(peeled) {
            Some(number) => self.known_size(parameter, value, number),
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
            "valid" | "same" if self.layer != "Dense" => "padding",
            name if ACTIVATIONS.contains(&name) && self.layer != "MaxPooling2D" => "activation",
            _ => return None,
        };
        Some(format!("{parameter} = {text:?}"))
    }

    fn known_size(&self, parameter: &str, value: &Expr, number: i128) -> Size {
        match usize::try_from(number) {
            Ok(0) => {
                self.complain(value, &format!("`{parameter}` is 0; it must be at least 1"));
            }
            Ok(size) if size <= LARGEST => return Size::Known(size),
            _ if number < 0 => self.complain(value, &format!("`{parameter}` is {number}; it must be at least 1")),
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
                let size = self.size_or(parameter, "a whole number or a pair such as `(3, 3)`", value);
                [size.clone(), size]
            }
        }
    }

    /// `(28, 28, 1)`, or the number of features of a vector.
    pub fn shape(&self, value: &Expr) -> InputShape {
        match peel(value) {
            Expr::Tuple(ExprTuple { elems, .. }) => self.shape_of(value, &elems.iter().collect::<Vec<_>>()),
            single => self.shape_of(value, &[single]),
        }
    }

    /// The shape of these sizes, given by these tokens.
    pub fn shape_of(&self, tokens: impl ToTokens, sizes: &[&Expr]) -> InputShape {
        match sizes {
            [height, width, channels] => InputShape::Map([
                self.size("height", height),
                self.size("width", width),
                self.size("channels", channels),
            ]),
            [features] => InputShape::Vector(self.size("features", features)),
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

    /// `"valid"` or `"same"`.
    pub fn padding(&self, value: &Expr) -> Padding {
        match self.choice("padding", value, &["valid", "same"]) {
            Some("same") => Padding::Same,
            _ => Padding::Valid,
        }
    }

    /// `"relu"`, …; `None` is `"linear"`.
    pub fn activation(&self, value: &Expr) -> Activation {
        let name = if is_none(value) { None } else { self.choice("activation", value, &ACTIVATIONS) };
        Activation { name: name.unwrap_or("linear"), tokens: value.to_token_stream() }
    }

    /// One of the known texts.
    pub fn choice(&self, parameter: &str, value: &Expr, known: &[&'static str]) -> Option<&'static str> {
        let written = match peel(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => text.value(),
            Expr::Path(path) if path.path.get_ident().is_some() => {
                let written = compact_text(value);
                let name = suggest::nearest(&written, known.iter().copied());
                let help = match name {
                    Some(name) => format!("write `{parameter} = \"{name}\"`"),
                    None => format!("write {}", suggest::either(known)),
                };
                self.complain_and_help(value, &format!("`{parameter}` is a text, in quotes"), &help);
                return name.and_then(|name| known.iter().copied().find(|known| *known == name));
            }
            other => {
                let sentence = format!("`{parameter}` must be {}, not {}", suggest::either(known), describe(other));
                self.complain(value, &sentence);
                return None;
            }
        };
        let exact = known.iter().copied().find(|name| *name == written);
        if exact.is_none() {
            let near =
                known.iter().copied().find(|name| Some(*name) == suggest::nearest(&written, known.iter().copied()));
            let help = match near {
                Some(name) => format!("did you mean `\"{name}\"`?"),
                None => format!("there are {}", suggest::either(known).replace(" or ", " and ")),
            };
            self.complain_and_help(value, &format!("unknown {parameter} {written:?}"), &help);
            return near;
        }
        exact
    }

    /// The layer's name: the key of its weights in a file.
    pub fn name(&self, value: &Expr) -> Option<(String, TokenStream)> {
        let name = match peel(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => text.value(),
            other => {
                self.complain(value, &format!("`name` must be a text such as `\"conv\"`, not {}", describe(other)));
                return None;
            }
        };
        let wrong = if name.is_empty() {
            "a name cannot be empty".to_string()
        } else if name.contains('/') {
            "a name cannot contain `/`, which separates layer and weight in a file".to_string()
        } else if name.len() > LONGEST_NAME {
            format!("a name has at most {LONGEST_NAME} bytes; this one has {}", name.len())
        } else {
            return Some((name, value.to_token_stream()));
        };
        self.complain(value, &wrong);
        None
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
