use super::*;

/// The crc32c of all parity of [`sample`]s of 4099 bytes, by the number of data pieces and of parity pieces. It was
/// computed by ISA-L 2.30 (`ec_encode_data`, `gf_mul`, `gf_inv`) from the definition of the matrix.
const GOLDEN: [[u32; PARITY_MAX]; DATA_MAX] = [
    [0xd954d267, 0x083a5d57, 0x4d571808, 0x41cd9209],
    [0x58db583f, 0x14442b74, 0xa2b8188e, 0xb5878010],
    [0xe7f8afd3, 0x5be1fdfa, 0x0027ff32, 0x1377672a],
    [0x73e144e7, 0x9a902806, 0x22255daf, 0xee2bf422],
    [0xa559aa10, 0x3608ae84, 0x87b500c2, 0xff103230],
    [0x2261faf3, 0xfa4d4399, 0xa2b8d206, 0x9fe84660],
    [0x8b25f47c, 0xbd06d879, 0x3910330d, 0xc8404d77],
    [0x87bf5103, 0x0eced8d3, 0xd1f1ee84, 0x3babd187],
    [0x3d23a0fb, 0x663225bc, 0x0b48e036, 0x2d1f5254],
    [0x06849e30, 0x7039105c, 0x32e887df, 0xd9837294],
    [0x75fbe954, 0x799c067f, 0x7ed5afb7, 0x66695305],
    [0xd85bd47f, 0x44bea120, 0x880e4452, 0xc4ba40a2],
    [0xa00a3841, 0x1048467e, 0xe95b2c38, 0xf77e53e7],
    [0x63ae06ce, 0x94f480f0, 0x016ff748, 0x8ab3ec05],
];

/// Returns the bytes of a piece of data.
fn sample(piece: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 31 + piece * 97) ^ (at >> 5)) as u8).collect()
}

fn samples(data: usize, length: usize) -> Vec<Vec<u8>> {
    (0..data).map(|piece| sample(piece, length)).collect()
}

/// Makes pieces from others.
fn made(combination: &Combination, kernel: Kernel, inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut outputs = vec![vec![0xaa; inputs[0].len()]; combination.outputs()];
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut targets: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    combination.apply_by(kernel, &inputs, &mut targets);
    outputs
}

fn kernels() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| kernel.is_there())
}

fn shapes() -> impl Iterator<Item = (usize, usize)> {
    (1..=DATA_MAX).flat_map(|data| (1..=PARITY_MAX).map(move |parity| (data, parity)))
}

#[test]
fn parity_is_that_of_the_format() {
    for (data, parity) in shapes() {
        let code = ReedSolomon::new(data, parity).expect("a code");
        assert_eq!(code.shape(), (data, parity));
        let golden = GOLDEN[data - 1][parity - 1];
        for kernel in kernels() {
            let all = made(code.parity(), kernel, &samples(data, 4099)).concat();
            assert_eq!(crc32c::crc32c(&all), golden, "{data}+{parity} by {kernel:?}");
        }
    }
}

#[test]
fn the_first_parity_is_the_exclusive_or() {
    for data in 1..=DATA_MAX {
        let code = ReedSolomon::new(data, 1).expect("a code");
        assert_eq!(code.parity().coefficients(0), vec![1; data]);
    }
}

/// Returns all choices of `count` of the first `of` numbers.
fn choices(of: usize, count: usize) -> Vec<Vec<usize>> {
    let all = (0u32..1 << of).filter(|bits| bits.count_ones() as usize == count);
    all.map(|bits| (0..of).filter(|at| bits >> at & 1 == 1).collect()).collect()
}

#[test]
fn any_that_are_left_give_all_others() {
    for (data, parity) in shapes() {
        let code = ReedSolomon::new(data, parity).expect("a code");
        let mut pieces = samples(data, 300);
        pieces.extend(made(code.parity(), Kernel::best(), &pieces));
        for left in choices(data + parity, data) {
            let wanted: Vec<usize> = (0..data + parity).filter(|piece| !left.contains(piece)).collect();
            let recovery = code.recovery(&left, &wanted).expect("these are enough");
            let given: Vec<Vec<u8>> = left.iter().map(|piece| pieces[*piece].clone()).collect();
            let made = made(&recovery, Kernel::best(), &given);
            for (piece, made) in wanted.iter().zip(made) {
                assert!(made == pieces[*piece], "{data}+{parity}: {piece} from {left:?}");
            }
        }
    }
}

#[test]
fn those_that_are_left_are_taken_in_any_order() {
    let code = ReedSolomon::new(4, 2).expect("a code");
    let mut pieces = samples(4, 500);
    pieces.extend(made(code.parity(), Kernel::best(), &pieces));
    let left = [5, 2, 0, 4];
    let recovery = code.recovery(&left, &[3, 1, 2]).expect("these are enough");
    let given = left.map(|piece| pieces[piece].clone());
    assert_eq!(made(&recovery, Kernel::best(), &given), [3, 1, 2].map(|piece| pieces[piece].clone()));
}

#[test]
fn every_way_gives_the_same_bytes_of_any_length() {
    let code = ReedSolomon::new(5, 4).expect("a code");
    for length in [0, 1, 63, 64, 65, 127, 128, 129, 255, 256, 1000, 65_536] {
        let data = samples(5, length);
        let plain = made(code.parity(), Kernel::Plain, &data);
        for kernel in kernels() {
            assert!(made(code.parity(), kernel, &data) == plain, "{length} bytes by {kernel:?}");
        }
    }
}

/// More outputs than are computed together.
#[test]
fn many_pieces_are_made_at_once() {
    let code = ReedSolomon::new(6, 4).expect("a code");
    let data = samples(6, 700);
    let all: Vec<usize> = (0..10).collect();
    let everything = code.recovery(&[0, 1, 2, 3, 4, 5], &all).expect("all are made");
    let parity = made(code.parity(), Kernel::Plain, &data);
    for kernel in kernels() {
        assert_eq!(made(&everything, kernel, &data), [data.as_slice(), &parity].concat(), "{kernel:?}");
    }
}

#[test]
fn what_is_no_code_or_not_enough_is_refused() {
    for (data, parity) in [(0, 1), (DATA_MAX + 1, 1), (1, 0), (1, PARITY_MAX + 1)] {
        assert!(ReedSolomon::new(data, parity).is_none(), "{data}+{parity}");
    }
    let code = ReedSolomon::new(3, 2).expect("a code");
    for left in [&[0, 1][..], &[0, 1, 2, 3], &[0, 1, 1], &[0, 1, 5]] {
        assert_eq!(code.recovery(left, &[2]).err(), Some(Unusable::Left), "{left:?}");
    }
    assert_eq!(code.recovery(&[0, 1, 4], &[5]).err(), Some(Unusable::Wanted));
}
