//! Every message of `convnet!`, held to the letter: each file of `tests/ui` is a theme, its `.stderr` what the
//! compiler says. `TRYBUILD=overwrite cargo test --test ui` writes them anew; read the difference.
//!
//! What becomes of the messages in the documentation is `errors_page`'s to say.

#[test]
fn messages() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    #[cfg(feature = "dfdx")]
    cases.compile_fail("tests/ui/dfdx/*.rs");
}
