//! The arguments that all examples take.

use clap::Parser;
use convnet::prelude::*;
use std::path::{Path, PathBuf};

/// Trains on MNIST and reports the accuracy on the test set. All examples take the same arguments.
#[derive(Parser, Debug)]
pub struct Options {
    /// How often the whole training set is gone through.
    #[arg(long, default_value_t = 5)]
    pub epochs: usize,
    /// Images in a training step [default: the book's].
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Draws the initial weights and the order of the images.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads that work; 0 stands for all.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Where to train: cpu, cuda or cuda:1 (a GPU by its number; needs `--features cuda`).
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// How precise products have to be: f32, tf32 or bf16 [default: f32 on the CPU, tf32 on a GPU].
    #[arg(long)]
    pub precision: Option<Precision>,
    /// Folder with the data set [default: $CONVNET_DATA, then the user's cache, then a download].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Folder for the trained weights and the plot of the training; nothing is written without it.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl Options {
    /// MNIST from the folder that was named, or from where it can be found.
    pub fn mnist(&self) -> convnet::Result<datasets::Mnist> {
        let mnist = datasets::find_mnist(self.data.as_deref())?;
        println!("{} training and {} test images: {}", mnist.train.len(), mnist.test.len(), mnist.source);
        Ok(mnist)
    }

    /// A model that does as was asked.
    pub fn apply<N: Network>(&self, model: Model<N>) -> Model<N> {
        let model = model.seed(self.seed).threads(self.threads).on(self.device.clone());
        match self.precision {
            Some(precision) => model.precision(precision),
            None => model,
        }
    }

    /// How `fit` is called.
    pub fn fit<I>(&self, batch_size: usize) -> Fit<'static, I> {
        Fit { epochs: self.epochs, batch_size: self.batch_size.unwrap_or(batch_size), ..Fit::default() }
    }

    /// A file in the output folder, which is made if it is missing.
    pub fn out_file(&self, name: &str) -> convnet::Result<Option<PathBuf>> {
        let Some(folder) = &self.out else { return Ok(None) };
        create_folder(folder)?;
        Ok(Some(folder.join(name)))
    }
}

fn create_folder(folder: &Path) -> convnet::Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| convnet::Error::Io {
        action: "create",
        path: folder.to_owned(),
        source,
    })
}
