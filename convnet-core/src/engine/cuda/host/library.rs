//! Kernels compiled by a C++ compiler, and loaded.

use crate::engine::cuda::loader_says;
use crate::engine::cuda::source::{Kernel, Source};
use crate::{Error, Result};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// How the kernels are compiled. Products are added as they are written, so that both orders of threads, and all
/// compilers, compute the same. What lies where a GPU could not read it as a whole ends the process (SIGILL): there it
/// ends all work on the GPU. Optimising takes longer than what the tests execute.
pub(super) const OPTIONS: [&str; 8] = [
    "-std=c++17",
    "-O0",
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
    "-w",
    "-fsanitize=alignment",
    "-fsanitize-undefined-trap-on-error",
];

/// Only entry points are visible. Otherwise G++ has the loader share the `__shared__` arrays of templates among all
/// libraries of a process, though P0 is another struct in each.
pub(super) const VISIBLE: &str = "{ global: k[0-9]*; local: *; };\n";

/// The end of the text: a library that goes gives back the stacks of its threads, some megabytes.
pub(super) const GOODBYE: &str = "\n__attribute__((destructor)) static void leave() { free(emulator::stacks); }\n";

/// An entry point: the grid, threads of a block, where the arguments lie, and whether threads run in falling order.
pub(super) type Entry = unsafe extern "C" fn(*const u32, u32, *mut *mut std::ffi::c_void, i32);

/// A C++ compiler.
pub(super) struct Compiler {
    /// The program, and arguments that come first.
    command: Vec<String>,
    /// What it says of itself.
    pub version: String,
}

impl Compiler {
    /// That which the environment's `CXX` names, or the first there is.
    ///
    /// # Errors
    /// [`Error::Cuda`] if none runs.
    pub fn find() -> Result<Compiler> {
        let named = std::env::var("CXX").ok().filter(|command| !command.trim().is_empty());
        let commands: Vec<String> =
            named.map_or_else(|| ["c++", "g++", "clang++"].map(String::from).into(), |c| vec![c]);
        Compiler::first(&commands).ok_or_else(|| {
            let looked = commands.join("`, `");
            Error::Cuda(format!(
                "no C++ compiler, which executing kernels on the CPU takes: `{looked}` does not run \
                 (install one, or name it in the environment variable CXX)"
            ))
        })
    }

    /// The first command that runs.
    pub(super) fn first(commands: &[String]) -> Option<Compiler> {
        commands.iter().find_map(|command| {
            let command: Vec<String> = command.split_whitespace().map(String::from).collect();
            let output = Command::new(command.first()?).args(&command[1..]).arg("--version").output().ok()?;
            let version = String::from_utf8_lossy(&output.stdout).into_owned();
            output.status.success().then_some(Compiler { command, version })
        })
    }

    /// The library that `text` becomes.
    ///
    /// # Errors
    /// [`Error::Cuda`] with what the compiler says, [`Error::Io`] where there is no room for files.
    pub fn compile(&self, text: &str) -> Result<Vec<u8>> {
        let folder = folder()?;
        let (text_file, visible, library) =
            (folder.path().join("kernels.cpp"), folder.path().join("visible"), folder.path().join("kernels.so"));
        write(&text_file, format!("{text}{GOODBYE}").as_bytes())?;
        write(&visible, VISIBLE.as_bytes())?;
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(OPTIONS).arg("-o").arg(&library).arg(&text_file);
        let mut script = std::ffi::OsString::from("-Wl,--version-script=");
        script.push(&visible);
        let ran = |source| Error::Io { action: "run", path: self.command[0].clone().into(), source };
        let output = command.arg(script).output().map_err(ran)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Cuda(format!("`{}` does not compile the kernels:\n{said}", self.command.join(" "))));
        }
        std::fs::read(&library).map_err(|source| Error::Io { action: "read", path: library, source })
    }
}

/// A folder that is removed in the end.
fn folder() -> Result<TempDir> {
    let failed = |source| Error::Io { action: "create a folder in", path: std::env::temp_dir(), source };
    tempfile::Builder::new().prefix("convnet-").tempdir().map_err(failed)
}

fn write(path: &Path, contents: &[u8]) -> Result<()> {
    std::fs::write(path, contents).map_err(|source| Error::Io { action: "write", path: path.to_owned(), source })
}

/// A kernel that can be called.
pub(super) struct Entrance {
    pub kernel: Kernel,
    pub entry: Entry,
}

/// A library in this process. Its static variables are its own, even if the same kernels are loaded twice: each has a
/// file of its own.
pub(super) struct Loaded {
    pub kernels: Vec<Entrance>,
    _library: libloading::Library,
    /// Goes after the library: the loader knows libraries by their files' numbers, and a removed file's number may soon
    /// be another's.
    _folder: TempDir,
}

impl Loaded {
    /// Loads the entry points of `kernels` from a compiled library.
    pub fn new(bytes: &[u8], kernels: &[Kernel]) -> Result<Loaded> {
        let folder = folder()?;
        let path = folder.path().join("kernels.so");
        write(&path, bytes)?;
        let failed = |error| Error::Cuda(format!("cannot load compiled kernels: {}", loader_says(error)));
        // SAFETY: nothing runs when it is loaded: the text has no static variables that need code to be made. What runs
        // when it goes uses nothing but its own.
        let library = unsafe { libloading::Library::new(&path) }.map_err(failed)?;
        let entrance = |(number, kernel): (usize, &Kernel)| {
            // SAFETY: `Source::text` gives every entry point this signature.
            let entry = unsafe { library.get::<Entry>(Source::name(number)) }.map_err(failed)?;
            Ok(Entrance { kernel: kernel.clone(), entry: *entry })
        };
        let kernels = kernels.iter().enumerate().map(entrance).collect::<Result<_>>()?;
        Ok(Loaded { kernels, _library: library, _folder: folder })
    }
}
