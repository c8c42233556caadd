//! The networks that convnet and its peers are timed on.

#[path = "../../tests/support/digits.rs"]
mod digits;

pub use digits::Digits;

use convnet::prelude::*;

convnet! {
    /// The book's section 5.2.
    pub type Cats = [
        Input(150, 150, 3),
        Conv2D(32, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(128, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(128, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Flatten(),
        Dense(512, activation = "relu"),
        Dense(1, activation = "sigmoid"),
    ];

    /// The convolutional base of VGG16 (Simonyan and Zisserman 2014).
    pub type Vgg16 = [
        Input(150, 150, 3),
        Conv2D(64, (3, 3), activation = "relu", padding = "same"),
        Conv2D(64, (3, 3), activation = "relu", padding = "same"),
        MaxPooling2D((2, 2)),
        Conv2D(128, (3, 3), activation = "relu", padding = "same"),
        Conv2D(128, (3, 3), activation = "relu", padding = "same"),
        MaxPooling2D((2, 2)),
        Conv2D(256, (3, 3), activation = "relu", padding = "same"),
        Conv2D(256, (3, 3), activation = "relu", padding = "same"),
        Conv2D(256, (3, 3), activation = "relu", padding = "same"),
        MaxPooling2D((2, 2)),
        Conv2D(512, (3, 3), activation = "relu", padding = "same"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same"),
        MaxPooling2D((2, 2)),
        Conv2D(512, (3, 3), activation = "relu", padding = "same"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same"),
        MaxPooling2D((2, 2)),
    ];
}
