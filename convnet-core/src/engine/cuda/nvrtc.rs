//! NVRTC, NVIDIA's compiler of kernels, as a library that is looked for when a program runs.
//!
//! It comes with CUDA, and alone as the package `nvidia-cuda-nvrtc` of PyPI; `search` knows where both put it. Its
//! functions are the same in all versions from 11.2 on, so that any will do that knows the GPU.

mod search;
#[cfg(test)]
mod tests;

use super::loader_says;
use crate::{Error, Result};
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::null;

/// Zero if all went well.
type Status = c_int;
/// A program that is being compiled.
type Handle = *mut c_void;
/// `nvrtcGet…Size`.
type Size = unsafe extern "C" fn(Handle, *mut usize) -> Status;
/// `nvrtcGet…`.
type Take = unsafe extern "C" fn(Handle, *mut c_char) -> Status;
/// `nvrtcCreateProgram`: the program, its text and name, and the count, texts and names of headers.
type Create = unsafe extern "C" fn(
    *mut Handle,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> Status;

/// Besides the architecture.
const OPTIONS: [&str; 2] = ["--std=c++17", "--fmad=true"];

/// The library.
pub(super) struct Nvrtc {
    /// Major and minor number.
    version: (c_int, c_int),
    /// The architectures that it compiles for, 90 for compute capability 9.0, from the oldest on.
    architectures: Vec<c_int>,
    functions: Functions,
    /// The functions are in it.
    _library: Library,
}

/// Its functions, as `nvrtc.h` declares them.
struct Functions {
    error_string: unsafe extern "C" fn(Status) -> *const c_char,
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status,
    architecture_count: unsafe extern "C" fn(*mut c_int) -> Status,
    architectures: unsafe extern "C" fn(*mut c_int) -> Status,
    create: Create,
    compile: unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> Status,
    destroy: unsafe extern "C" fn(*mut Handle) -> Status,
    log_size: Size,
    log: Take,
    cubin_size: Size,
    cubin: Take,
    ptx_size: Size,
    ptx: Take,
}

/// What kernels are compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The GPU's own instructions.
    Cubin(c_int),
    /// Instructions of an older architecture, which the driver translates.
    Ptx(c_int),
}

impl Nvrtc {
    /// The library that the environment's `CONVNET_NVRTC` names, or else the first that is found and not of a newer CUDA
    /// than `major`, which the driver knows (or newer, if there are only such: it may still do).
    ///
    /// # Errors
    /// [`Error::Cuda`] if there is none.
    pub fn find(major: i32) -> Result<Nvrtc> {
        let search = search::Search::here();
        let (mut newer, mut refused) = (None, Vec::new());
        for file in &search.files {
            match Nvrtc::load(file) {
                Ok(found) if found.version.0 <= major => return Ok(found),
                Ok(found) => newer = newer.or(Some(found)),
                // That the loader does not know a name is said in other words.
                Err(reason) if search.is_there(file) => refused.push(format!("{}: {reason}", file.display())),
                Err(_) => {}
            }
        }
        newer.ok_or_else(|| Error::Cuda(search.missing(&refused, major)))
    }

    fn load(file: &Path) -> Result<Nvrtc, String> {
        // SAFETY: what runs when NVRTC is loaded is NVIDIA's, and asks for nothing.
        let library = unsafe { Library::new(file) }.map_err(loader_says)?;
        let functions = Functions::of(&library).map_err(loader_says)?;
        let (mut major, mut minor, mut count) = (0, 0, 0);
        // SAFETY: the places are there for as long as the calls take, the list has room for as many as were counted.
        let architectures = unsafe {
            functions.check((functions.version)(&mut major, &mut minor))?;
            functions.check((functions.architecture_count)(&mut count))?;
            let mut list = vec![0; usize::try_from(count).unwrap_or(0)];
            functions.check((functions.architectures)(list.as_mut_ptr()))?;
            list.sort();
            list
        };
        Ok(Nvrtc { version: (major, minor), architectures, functions, _library: library })
    }

    /// Major and minor number of its version.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// All that the outcome depends on besides the text, for a GPU of this compute capability.
    ///
    /// # Errors
    /// [`Error::Cuda`] if it compiles for newer GPUs only.
    pub fn settings(&self, capability: (i32, i32)) -> Result<String> {
        let form = self.form(capability)?;
        Ok(format!("NVRTC {}.{} {} {}", self.version.0, self.version.1, form.option(), OPTIONS.join(" ")))
    }

    /// Compiles a text for a GPU of this compute capability to what its driver loads: a CUBIN, or, from an NVRTC older
    /// than the GPU, PTX.
    ///
    /// # Errors
    /// [`Error::Cuda`] with what the compiler says.
    pub fn compile(&self, text: &str, capability: (i32, i32)) -> Result<Vec<u8>> {
        let form = self.form(capability)?;
        let text = c_string(text)?;
        let options: Vec<CString> =
            OPTIONS.iter().copied().chain([&*form.option()]).map(c_string).collect::<Result<_>>()?;
        let program = Program::new(&self.functions, &text)?;
        let compiled = program.compile(&options);
        compiled.map_err(|reason| Error::Cuda(format!("NVRTC does not compile the kernels: {reason}")))?;
        let (size, take) = match form {
            Form::Cubin(_) => (self.functions.cubin_size, self.functions.cubin),
            Form::Ptx(_) => (self.functions.ptx_size, self.functions.ptx),
        };
        program.get(size, take).map_err(|reason| Error::Cuda(format!("NVRTC hands over no kernels: {reason}")))
    }

    fn form(&self, (major, minor): (i32, i32)) -> Result<Form> {
        form(&self.architectures, 10 * major + minor).ok_or_else(|| {
            let (oldest, version) = (self.architectures.first().copied().unwrap_or(0), self.version);
            Error::Cuda(format!(
                "NVRTC {}.{} compiles for GPUs of compute capability {}.{} and newer, and this one has {major}.{minor} \
                 (an older NVRTC, named by the environment variable CONVNET_NVRTC, may do)",
                version.0,
                version.1,
                oldest / 10,
                oldest % 10
            ))
        })
    }
}

/// What a compiler for these architectures, in rising order, makes for one of them, or for a newer one.
fn form(architectures: &[c_int], wanted: c_int) -> Option<Form> {
    let newest = architectures.iter().copied().rfind(|&known| known <= wanted)?;
    Some(if newest == wanted { Form::Cubin(wanted) } else { Form::Ptx(newest) })
}

impl Form {
    fn option(self) -> String {
        match self {
            Form::Cubin(architecture) => format!("--gpu-architecture=sm_{architecture}"),
            Form::Ptx(architecture) => format!("--gpu-architecture=compute_{architecture}"),
        }
    }
}

/// The package of PyPI that has the library for a driver that knows CUDA of this major version.
pub(super) fn package(major: i32) -> &'static str {
    // From 13 on the name has no number.
    if major == 12 { "nvidia-cuda-nvrtc-cu12" } else { "nvidia-cuda-nvrtc" }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Cuda("a text for NVRTC has a zero byte".to_owned()))
}

impl Functions {
    fn of(library: &Library) -> Result<Functions, libloading::Error> {
        // SAFETY: the types are those of nvrtc.h, which have not changed since CUDA 11.2.
        unsafe {
            Ok(Functions {
                error_string: *library.get("nvrtcGetErrorString")?,
                version: *library.get("nvrtcVersion")?,
                architecture_count: *library.get("nvrtcGetNumSupportedArchs")?,
                architectures: *library.get("nvrtcGetSupportedArchs")?,
                create: *library.get("nvrtcCreateProgram")?,
                compile: *library.get("nvrtcCompileProgram")?,
                destroy: *library.get("nvrtcDestroyProgram")?,
                log_size: *library.get("nvrtcGetProgramLogSize")?,
                log: *library.get("nvrtcGetProgramLog")?,
                cubin_size: *library.get("nvrtcGetCUBINSize")?,
                cubin: *library.get("nvrtcGetCUBIN")?,
                ptx_size: *library.get("nvrtcGetPTXSize")?,
                ptx: *library.get("nvrtcGetPTX")?,
            })
        }
    }

    /// NVRTC's name for what went wrong.
    fn check(&self, status: Status) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: for every number there is a text that stays.
        let name = unsafe { CStr::from_ptr((self.error_string)(status)) };
        Err(name.to_string_lossy().into_owned())
    }
}

/// A text in NVRTC's hands.
struct Program<'a> {
    functions: &'a Functions,
    handle: Handle,
}

impl<'a> Program<'a> {
    fn new(functions: &'a Functions, text: &CStr) -> Result<Program<'a>> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: both texts end with zero and are copied; there are no headers.
        let status =
            unsafe { (functions.create)(&mut handle, text.as_ptr(), c"convnet.cu".as_ptr(), 0, null(), null()) };
        functions.check(status).map_err(|reason| Error::Cuda(format!("NVRTC takes no text: {reason}")))?;
        Ok(Program { functions, handle })
    }

    /// What is wrong with the text, if anything.
    fn compile(&self, options: &[CString]) -> Result<(), String> {
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        let count = c_int::try_from(options.len()).unwrap_or(c_int::MAX);
        // SAFETY: the program is alive, and there are so many options.
        let status = unsafe { (self.functions.compile)(self.handle, count, options.as_ptr()) };
        self.functions.check(status).map_err(|name| {
            let log = self.get(self.functions.log_size, self.functions.log).unwrap_or_default();
            format!("{name}\n{}", String::from_utf8_lossy(&log).trim_end_matches('\0'))
        })
    }

    /// What the program has to hand over.
    fn get(&self, size: Size, take: Take) -> Result<Vec<u8>, String> {
        let mut count = 0;
        // SAFETY: the program is alive, and the place is there.
        self.functions.check(unsafe { size(self.handle, &mut count) })?;
        let mut bytes = vec![0u8; count];
        // SAFETY: as many bytes are written as were announced.
        self.functions.check(unsafe { take(self.handle, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // SAFETY: it was created, and is destroyed once.
        unsafe { (self.functions.destroy)(&mut self.handle) };
    }
}
