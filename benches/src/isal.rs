//! This module makes parity by ISA-L, the library of the system (Debian's `libisal-dev`), to compare with.

/// Parity by ISA-L with a matrix of the caller's.
pub struct Isal {
    data: usize,
    parity: usize,
    tables: Vec<u8>,
}

// SAFETY: these are the declarations of ISA-L's erasure_code.h.
#[link(name = "isal")]
unsafe extern "C" {
    fn ec_init_tables(data: i32, rows: i32, matrix: *const u8, tables: *mut u8);
    fn ec_encode_data(
        length: i32,
        data: i32,
        rows: i32,
        tables: *const u8,
        inputs: *const *const u8,
        outputs: *const *mut u8,
    );
}

impl Isal {
    /// Takes by what the pieces of data are multiplied, row after row.
    ///
    /// # Panics
    /// Panics when the rows are not whole.
    pub fn new(data: usize, rows: &[u8]) -> Self {
        assert!(data > 0 && rows.len().is_multiple_of(data), "whole rows");
        let parity = rows.len() / data;
        let mut tables = vec![0; 32 * rows.len()];
        // SAFETY: the matrix has `data * parity` bytes, and the tables 32 for each of them, as `ec_init_tables` asks.
        unsafe { ec_init_tables(data as i32, parity as i32, rows.as_ptr(), tables.as_mut_ptr()) };
        Self { data, parity, tables }
    }

    /// Overwrites the pieces of parity.
    ///
    /// # Panics
    /// Panics when there are more or fewer pieces, or when one has another length.
    pub fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        assert_eq!((data.len(), parity.len()), (self.data, self.parity), "pieces");
        let length = data[0].len();
        assert!(data.iter().all(|piece| piece.len() == length), "pieces of one length");
        assert!(parity.iter().all(|piece| piece.len() == length), "pieces of one length");
        let inputs: Vec<*const u8> = data.iter().map(|piece| piece.as_ptr()).collect();
        let outputs: Vec<*mut u8> = parity.iter_mut().map(|piece| piece.as_mut_ptr()).collect();
        let (rows, tables) = (self.parity as i32, self.tables.as_ptr());
        // SAFETY: all pieces have `length` bytes, and the tables are those of so many pieces.
        unsafe {
            ec_encode_data(length as i32, self.data as i32, rows, tables, inputs.as_ptr(), outputs.as_ptr());
        }
    }
}
