//! Collects complaints, so that one build shows every mistake of a listing.
//!
//! Each phase takes an [`Errors`], adds what it finds and goes on with something plausible. Dropping an [`Errors`]
//! without [`Errors::finish`] is a bug in the macro and panics, so that no complaint can be forgotten (after
//! serde_derive's `Ctxt`).

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use std::cell::RefCell;
use std::fmt::Write;

/// What is wrong, the shapes on the way to it, and what to do about it.
pub struct Complaint {
    text: String,
}

impl Complaint {
    /// Begins with the sentence that says what is wrong.
    pub fn new(sentence: impl Into<String>) -> Self {
        Complaint { text: sentence.into() }
    }

    /// Adds a line with the shapes along the way; none if it is empty.
    pub fn trail(mut self, trail: &str) -> Self {
        if !trail.is_empty() {
            let _ = write!(self.text, "\n{trail}");
        }
        self
    }

    /// Adds a line that helps.
    pub fn help(mut self, help: impl AsRef<str>) -> Self {
        let _ = write!(self.text, "\nhelp: {}", help.as_ref());
        self
    }
}

impl<T: Into<String>> From<T> for Complaint {
    fn from(sentence: T) -> Self {
        Complaint::new(sentence)
    }
}

/// The complaints so far.
pub struct Errors {
    list: RefCell<Option<Vec<syn::Error>>>,
}

impl Errors {
    /// None yet.
    pub fn new() -> Self {
        Errors { list: RefCell::new(Some(Vec::new())) }
    }

    /// Complains about these tokens.
    pub fn on(&self, tokens: impl ToTokens, complaint: impl Into<Complaint>) {
        self.push(syn::Error::new_spanned(tokens, complaint.into().text));
    }

    /// Complains about a place.
    pub fn at(&self, place: Span, complaint: impl Into<Complaint>) {
        self.push(syn::Error::new(place, complaint.into().text));
    }

    /// Adds what syn complains about.
    pub fn push(&self, error: syn::Error) {
        if let Some(list) = &mut *self.list.borrow_mut() {
            list.push(error);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.borrow().as_ref().map_or(0, Vec::len)
    }

    /// All of them as `compile_error!` invocations, each good as an item and as a statement.
    pub fn finish(self) -> Vec<TokenStream> {
        let list = self.list.borrow_mut().take().unwrap_or_default();
        list.iter().map(syn::Error::to_compile_error).collect()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.list.borrow().is_some() {
            panic!("complaints were collected and never reported");
        }
    }
}
