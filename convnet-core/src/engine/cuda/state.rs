//! What goes on from step to step on the device, as the host reads it.

/// `State` of `common.cuh`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(super) struct State {
    /// Training steps done.
    pub step: u64,
    /// Place in the order of images where the next batch begins.
    pub cursor: u64,
    /// Sum of the images' losses.
    pub loss: f64,
    /// Images that count as right.
    pub correct: u64,
    /// [`State::step`] when something went wrong.
    pub fault_step: u64,
    /// The loss then, summed over the batch.
    pub fault_loss: f64,
    /// What went wrong: 0 for nothing, 1 for the loss, 2 for weights.
    pub fault: i32,
    /// What it was before the update: whether that changed nothing.
    pub stopped: i32,
}

/// Its size in bytes.
const BYTES: usize = 56;

const _: () = assert!(size_of::<State>() == BYTES);

impl State {
    /// As it lies in memory.
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let words = [
            self.step,
            self.cursor,
            self.loss.to_bits(),
            self.correct,
            self.fault_step,
            self.fault_loss.to_bits(),
            self.fault as u32 as u64,
        ];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// From memory.
    pub fn from_bytes(bytes: [u8; BYTES]) -> State {
        let word = |number: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * number..8 * number + 8]);
            u64::from_ne_bytes(word)
        };
        State {
            step: word(0),
            cursor: word(1),
            loss: f64::from_bits(word(2)),
            correct: word(3),
            fault_step: word(4),
            fault_loss: f64::from_bits(word(5)),
            fault: word(6) as u32 as i32,
            stopped: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_bytes() {
        let state =
            State { step: 1, cursor: 2, loss: 3.5, correct: 4, fault_step: 5, fault_loss: -6.5, fault: 2, stopped: 0 };
        assert_eq!(State::from_bytes(state.to_bytes()), state);
        assert_eq!(std::mem::offset_of!(State, fault), 48);
    }
}
