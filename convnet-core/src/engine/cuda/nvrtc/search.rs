//! Where NVRTC may be.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The environment variable that names the file.
const VARIABLE: &str = "CONVNET_NVRTC";

/// The library's names, the newest first.
#[cfg(not(windows))]
const NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
#[cfg(windows)]
const NAMES: [&str; 2] = ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"];

/// Where the packages of PyPI for CUDA 13 and 12 put it, below `site-packages`.
const PACKAGES: [&str; 4] =
    ["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib", "nvidia/cu13/bin/x86_64", "nvidia/cuda_nvrtc/bin"];

/// What is looked at, in this order.
pub(super) struct Search {
    /// Files that are there, and before them names that the system's loader may know.
    pub files: Vec<PathBuf>,
    /// The folders in which they were looked for.
    folders: Vec<PathBuf>,
    /// Whether the user has named the one file.
    named: bool,
}

impl Search {
    /// That of this process.
    pub fn here() -> Search {
        Search::new(|name| std::env::var_os(name))
    }

    /// Where a process with these environment variables has to look.
    pub(super) fn new(variable: impl Fn(&str) -> Option<OsString>) -> Search {
        let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(file) = path(VARIABLE) {
            return Search { files: vec![file], folders: Vec::new(), named: true };
        }
        let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(path);
        let mut folders: Vec<PathBuf> = Vec::new();
        for toolkit in toolkits.chain([PathBuf::from("/usr/local/cuda")]) {
            folders.extend(["lib64", "lib", "bin", "bin/x64"].map(|folder| toolkit.join(folder)));
            folders.extend(children(&toolkit.join("targets"), "").into_iter().map(|target| target.join("lib")));
        }
        let pythons = path("VIRTUAL_ENV").into_iter().chain(python(variable("PATH").as_deref()));
        for prefix in pythons.chain(path("HOME").map(|home| home.join(".local"))) {
            let sites = site_packages(&prefix);
            folders.extend(sites.iter().flat_map(|site| PACKAGES.map(|package| site.join(package))));
        }
        folders.retain(|folder| folder.is_dir());
        // The first of each stays.
        let mut seen = std::collections::BTreeSet::new();
        folders.retain(|folder| seen.insert(folder.clone()));
        let there = folders.iter().flat_map(|folder| NAMES.map(|name| folder.join(name))).filter(|file| file.is_file());
        let files = NAMES.map(PathBuf::from).into_iter().chain(there).collect();
        Search { files, folders, named: false }
    }

    /// Whether something has to be said if this file cannot be loaded.
    pub(super) fn is_there(&self, file: &Path) -> bool {
        self.named || file.components().count() > 1
    }

    /// A sentence for who has no NVRTC, given what is wrong with files that are there, and
    /// the major version of CUDA that the driver knows.
    pub(super) fn missing(&self, refused: &[String], major: i32) -> String {
        let refused = refused.join("; ");
        if self.named {
            return format!(
                "the environment variable {VARIABLE} names a file that is no NVRTC that can be loaded: {refused}"
            );
        }
        let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let folders = if folders.is_empty() { String::new() } else { format!(", nor is it in {}", folders.join(", ")) };
        let refused =
            if refused.is_empty() { refused } else { format!(", and what is there cannot be loaded ({refused})") };
        format!(
            "NVRTC, the compiler of kernels, is not there: the system's loader knows no {}{folders}{refused}; it comes \
             with CUDA, and alone by `pip install {}` (in a virtual environment that is active, or set {VARIABLE} to \
             the library's file)",
            NAMES.join(", "),
            super::package(major)
        )
    }
}

/// Prefixes of the `python3` on the path: where it is found, and where that leads, if it is a link.
fn python(path: Option<&OsStr>) -> Vec<PathBuf> {
    let programs = path.into_iter().flat_map(std::env::split_paths).map(|folder| folder.join("python3"));
    let Some(program) = programs.into_iter().find(|program| program.is_file()) else { return Vec::new() };
    let real = program.canonicalize().ok();
    let prefix = |program: PathBuf| Some(program.parent()?.parent()?.to_owned());
    [Some(program), real].into_iter().flatten().filter_map(prefix).collect()
}

/// The folders below a prefix in which Python looks for packages, as far as they are there.
fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let mut folders = vec![prefix.join("Lib/site-packages")];
    for lib in ["lib", "lib64", "local/lib"] {
        let versions = children(&prefix.join(lib), "python3");
        folders.extend(versions.iter().flat_map(|v| [v.join("site-packages"), v.join("dist-packages")]));
    }
    folders
}

/// What is in a folder and begins so, sorted; nothing if there is no folder.
fn children(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let mut paths: Vec<_> = ours.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
