//! Where a model runs.

#[cfg(feature = "cuda")]
use crate::engine::cuda::Cuda;
use crate::{Error, Result};
use std::str::FromStr;

/// Where a model runs: the processor, or a GPU (feature `cuda`). Written as text: `cpu`, `cuda` or `cuda:1`, the GPU's number
/// counted from zero.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Device {
    /// The machine's processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU.
    #[cfg(feature = "cuda")]
    Cuda(Cuda),
}

/// What a model can run on: whatever [`Device`] can be made from. It stands before that conversion so that the compiler says
/// in words what is wrong with another type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a device",
    label = "a device is expected here",
    note = "there are `Device::Cpu` and, with the feature `cuda`, `Cuda::device(0)?`; a text is read by `\"cuda:0\".parse::<Device>()?`"
)]
pub trait IntoDevice {
    /// The device.
    fn into_device(self) -> Device;
}

#[diagnostic::do_not_recommend]
impl<T: Into<Device>> IntoDevice for T {
    fn into_device(self) -> Device {
        self.into()
    }
}

#[cfg(feature = "cuda")]
impl From<Cuda> for Device {
    fn from(cuda: Cuda) -> Self {
        Device::Cuda(cuda)
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::Argument {
            argument: "device",
            expected: "cpu, cuda or cuda:1".to_owned(),
            found: format!("`{text}`"),
        };
        let (kind, number) = text.split_once(':').unwrap_or((text, "0"));
        match (kind, number.parse()) {
            ("cpu", _) if text == "cpu" => Ok(Device::Cpu),
            ("cuda", Ok(number)) => gpu(number),
            _ => Err(unknown()),
        }
    }
}

#[cfg(feature = "cuda")]
fn gpu(number: usize) -> Result<Device> {
    Cuda::device(number).map(Device::Cuda)
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: usize) -> Result<Device> {
    let argument = "device";
    let (expected, found) = ("the feature `cuda` of convnet for GPUs".to_owned(), "a build without it".to_owned());
    Err(Error::Argument { argument, expected, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_from_text() {
        assert!(matches!("cpu".parse(), Ok(Device::Cpu)));
        for text in ["", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1"] {
            let error = text.parse::<Device>().unwrap_err().to_string();
            assert_eq!(error, format!("device: expected cpu, cuda or cuda:1, found `{text}`"));
        }
        if let Err(error) = "cuda:99".parse::<Device>() {
            let error = error.to_string();
            assert!(error.starts_with("CUDA: ") || error.contains("feature `cuda`"), "{error}");
        }
    }
}
