//! Sums of pieces, each multiplied by an element of the field.

use super::field::product;
use super::kernel::Kernel;
use super::tables::Tables;

/// Makes pieces from others: each is the sum of all inputs, each multiplied by an element.
#[derive(Clone, Debug)]
pub struct Combination {
    inputs: usize,
    /// The elements by which the inputs are multiplied, output after output.
    coefficients: Vec<u8>,
    tables: Vec<Tables>,
}

impl Combination {
    /// Makes one of `inputs` inputs. `coefficients` are those of the first output, then those of the next.
    ///
    /// # Panics
    /// Panics when these are not as many for each output as there are inputs.
    pub fn new(inputs: usize, coefficients: Vec<u8>) -> Self {
        assert!(inputs > 0 && coefficients.len().is_multiple_of(inputs), "whole rows of coefficients");
        let tables = coefficients.iter().map(|coefficient| Tables::of(*coefficient)).collect();
        Self { inputs, coefficients, tables }
    }

    /// Returns the number of pieces that it makes.
    pub fn outputs(&self) -> usize {
        self.coefficients.len() / self.inputs
    }

    /// Returns by what the inputs are multiplied for an output.
    pub fn coefficients(&self, output: usize) -> &[u8] {
        &self.coefficients[output * self.inputs..(output + 1) * self.inputs]
    }

    /// Overwrites the outputs, as fast as this machine can.
    ///
    /// # Panics
    /// Panics when there are more or fewer pieces than this combines, or one has another length.
    pub fn apply(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        self.apply_by(Kernel::best(), inputs, outputs);
    }

    /// Overwrites the outputs by one way of computing, which the machine must have.
    ///
    /// # Panics
    /// Panics when the machine does not have it, when there are more or fewer pieces than this combines, or when one
    /// has another length.
    pub fn apply_by(&self, kernel: Kernel, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        assert!(kernel.is_there(), "{kernel:?} is not a way of this machine");
        assert_eq!((inputs.len(), outputs.len()), (self.inputs, self.outputs()), "pieces of a combination");
        let length = inputs[0].len();
        let all = inputs.iter().map(|input| input.len()).chain(outputs.iter().map(|output| output.len()));
        all.for_each(|other| assert_eq!(other, length, "pieces of a combination have one length"));
        let done = kernel.run(&self.tables, inputs, outputs);
        for (output, bytes) in outputs.iter_mut().enumerate() {
            for at in done..length {
                let parts = self.coefficients(output).iter().zip(inputs);
                bytes[at] = parts.fold(0, |sum, (factor, input)| sum ^ product(*factor, input[at]));
            }
        }
    }
}
