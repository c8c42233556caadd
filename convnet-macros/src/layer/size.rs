//! Numbers in a listing, and the shape of its input.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, Ident};

/// A size in a listing.
#[derive(Clone)]
pub enum Size {
    /// A number that the macro knows.
    Known(usize),
    /// `None` in the input of a block: any number.
    Any,
    /// An expression of constants.
    Constant(Box<Expr>),
    /// A const generic (or, where the macro cannot tell, any single identifier).
    Generic(Ident),
    /// It was wrong and has been complained about.
    Faulty,
}

impl Size {
    /// The number, if the macro knows it.
    pub fn known(&self) -> Option<usize> {
        match self {
            Size::Known(number) => Some(*number),
            _ => None,
        }
    }

    /// As in the listing.
    pub fn text(&self) -> String {
        match self {
            Size::Known(number) => number.to_string(),
            Size::Any => "None".to_string(),
            Size::Constant(expression) => compact(expression.to_token_stream()),
            Size::Generic(name) => name.to_string(),
            Size::Faulty => "?".to_string(),
        }
    }

    /// Whether it can only be known behind the macro.
    pub fn is_open(&self) -> bool {
        matches!(self, Size::Constant(_) | Size::Generic(_))
    }
}

/// Tokens as text, without the blanks around `::` and before commas that may stand there.
pub fn compact(tokens: TokenStream) -> String {
    tokens.to_string().replace(" :: ", "::").replace(" < ", "<").replace(" >", ">").replace(" ,", ",")
}

/// A real number in a listing.
#[derive(Clone)]
pub enum Real {
    /// A number that the macro knows.
    Known(f64),
    /// An expression of constants.
    Constant(Box<Expr>),
}

/// The shape of a network's input as the listing gives it.
#[derive(Clone)]
pub enum InputShape {
    /// Height, width, channels.
    Map([Size; 3]),
    /// Features.
    Vector(Size),
    /// It was wrong and has been complained about.
    Faulty,
}

impl InputShape {
    /// Its sizes.
    pub fn sizes(&self) -> &[Size] {
        match self {
            InputShape::Map(sizes) => sizes,
            InputShape::Vector(size) => std::slice::from_ref(size),
            InputShape::Faulty => &[],
        }
    }

    /// Its sizes, to change them.
    pub fn sizes_mut(&mut self) -> &mut [Size] {
        match self {
            InputShape::Map(sizes) => sizes,
            InputShape::Vector(size) => std::slice::from_mut(size),
            InputShape::Faulty => &mut [],
        }
    }

    /// Whether this is the input of a block, which takes maps or vectors of several sizes.
    pub fn is_block(&self) -> bool {
        self.sizes().iter().any(|size| matches!(size, Size::Any))
    }
}
