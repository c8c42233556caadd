//! Where NVRTC is looked for, what it is asked to make, and what is said if it is not there.

use super::search::Search;
use super::*;
use std::path::PathBuf;

/// A search with these variables.
fn search(variables: &[(&str, &Path)]) -> Search {
    Search::new(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_os_str().into()))
}

#[cfg(not(windows))]
#[test]
fn looks_everywhere_in_order() {
    let root = tempfile::tempdir().unwrap();
    let files = [
        "toolkit/lib64/libnvrtc.so.12",
        "toolkit/targets/sbsa-linux/lib/libnvrtc.so",
        "venv/lib/python3.11/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
        "venv/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
        "python/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
        "home/.local/lib/python3.9/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
    ]
    .map(|file| root.path().join(file));
    for file in &files {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, b"").unwrap();
    }
    let bin = root.path().join("python/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("python3"), b"").unwrap();
    let (toolkit, venv, home) = (root.path().join("toolkit"), root.path().join("venv"), root.path().join("home"));
    let variables = [("CUDA_HOME", &*toolkit), ("VIRTUAL_ENV", &*venv), ("PATH", &*bin), ("HOME", &*home)];
    let found = search(&variables);
    let names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"].map(PathBuf::from);
    assert_eq!(found.files[..3], names);
    // This machine may have a toolkit of its own, where it always is.
    let rest: Vec<_> = found.files[3..].iter().filter(|file| !file.starts_with("/usr/local/cuda")).cloned().collect();
    assert_eq!(rest, files);
    let missing = found.missing(&["x: broken".to_owned()], 12);
    for part in
        ["libnvrtc.so.13", "toolkit/lib64, ", "(x: broken)", "pip install nvidia-cuda-nvrtc-cu12`", "CONVNET_NVRTC"]
    {
        assert!(missing.contains(part), "{part}: {missing}");
    }
}

#[test]
fn a_file_that_is_named_is_the_only_one() {
    let named = search(&[("CONVNET_NVRTC", Path::new("/here/it/is")), ("CUDA_HOME", Path::new("/usr"))]);
    assert_eq!(named.files, [PathBuf::from("/here/it/is")]);
    let missing = named.missing(&["/here/it/is: no such file".to_owned()], 13);
    assert!(missing.contains("CONVNET_NVRTC") && missing.ends_with("/here/it/is: no such file"), "{missing}");
}

#[test]
fn a_library_without_the_functions_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(Nvrtc::load(file.path()).is_err());
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    assert!(Nvrtc::load(Path::new("libc.so.6")).err().unwrap().contains("undefined symbol: nvrtcGetErrorString"));
}

#[test]
fn takes_the_newest_architecture_that_is_not_newer() {
    let known = [75, 80, 90, 100];
    assert_eq!(form(&known, 80), Some(Form::Cubin(80)));
    assert_eq!(form(&known, 86), Some(Form::Ptx(80)));
    assert_eq!(form(&known, 120), Some(Form::Ptx(100)));
    assert_eq!(form(&known, 70), None);
    assert_eq!(Form::Cubin(90).option(), "--gpu-architecture=sm_90");
    assert_eq!(Form::Ptx(90).option(), "--gpu-architecture=compute_90");
}

/// The compiler, or a word on why this test is skipped.
fn nvrtc() -> Option<Nvrtc> {
    Nvrtc::find(i32::MAX).inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

#[test]
fn compiles_what_all_kernels_share() {
    let Some(nvrtc) = nvrtc() else { return };
    let shared = super::super::source::Source::default().text(super::super::source::Target::Device);
    let kernel = "extern \"C\" __global__ void k0(float *x) { float y = block_sum(x[threadIdx.x]); x[0] = y; }";
    let text = format!("{shared}\n{kernel}\n");
    let newest = *nvrtc.architectures.last().unwrap();
    for architecture in [75, 80, newest] {
        let capability = (architecture / 10, architecture % 10);
        let cubin = nvrtc.compile(&text, capability).unwrap();
        assert!(cubin.starts_with(b"\x7fELF"), "{architecture}");
        assert!(nvrtc.settings(capability).unwrap().contains(&format!("sm_{architecture} ")));
    }
    let ptx = String::from_utf8(nvrtc.compile(&text, (newest / 10 + 1, 0)).unwrap()).unwrap();
    assert!(ptx.contains(".entry k0(") && ptx.ends_with('\0'));
    assert!(nvrtc.compile(&text, (2, 0)).unwrap_err().to_string().contains("this one has 2.0"));
}

#[test]
fn what_does_not_compile_is_an_error_with_the_log() {
    let Some(nvrtc) = nvrtc() else { return };
    let error = nvrtc.compile("nonsense;", (8, 0)).unwrap_err().to_string();
    assert!(error.contains("NVRTC_ERROR_COMPILATION") && error.contains("convnet.cu(1)"), "{error}");
    assert!(nvrtc.compile("\0", (8, 0)).is_err());
    assert!(nvrtc.version().0 >= 11);
}
