//! Round trips, files written by NumPy, and hostile files.

use super::*;
use proptest::prelude::*;

/// A version 1 file with this header text and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(header.len()).expect("a short header");
    [b"\x93NUMPY\x01\x00".as_slice(), &len.to_le_bytes(), header.as_bytes(), data].concat()
}

fn plain(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    file(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"), data)
}

fn fault(bytes: &[u8]) -> String {
    read_npy(bytes).expect_err("the file is not sound").to_string()
}

fn arrays() -> impl Strategy<Value = Array> {
    prop::collection::vec(0usize..5, 0..5).prop_flat_map(|shape| {
        let len = shape.iter().product::<usize>();
        let bytes = prop::collection::vec(any::<[u8; 8]>(), len);
        (0..5, bytes).prop_map(move |(kind, bytes)| {
            let shape = shape.clone();
            let low = |b: &[u8; 8]| [b[0], b[1], b[2], b[3]];
            match kind {
                // A NaN equals nothing, not even itself.
                0 => Array::F32 { shape, data: bytes.iter().map(|b| i32::from_le_bytes(low(b)) as f32).collect() },
                1 => Array::U8 { shape, data: bytes.iter().map(|b| b[0]).collect() },
                2 => Array::I8 { shape, data: bytes.iter().map(|b| b[0] as i8).collect() },
                3 => Array::I32 { shape, data: bytes.iter().map(|b| i32::from_le_bytes(low(b))).collect() },
                _ => Array::I64 { shape, data: bytes.iter().map(|b| i64::from_le_bytes(*b)).collect() },
            }
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(array in arrays()) {
        let bytes = write_npy(&array);
        let (_, data) = header::Header::split(&bytes).expect("sound");
        prop_assert_eq!((bytes.len() - data.len()) % 64, 0);
        prop_assert_eq!(read_npy(&bytes).expect("sound"), array);
    }

    #[test]
    fn random_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
        let _ = read_npy(&bytes);
        let mut sound = plain("<f4", "(2, 3)", &[0; 24]);
        let at = at % sound.len();
        sound.splice(at.., bytes);
        let _ = read_npy(&sound);
    }
}

#[test]
fn every_order_and_width_is_read() {
    let f32s = |shape: &[usize], data: &[f32]| Array::F32 { shape: shape.to_vec(), data: data.to_vec() };
    let halves: Vec<u8> = [0x3c00u16, 0xc000, 0x0001, 0x7c00].iter().flat_map(|h| h.to_le_bytes()).collect();
    let read = |bytes: &[u8]| read_npy(bytes).expect("sound");
    assert_eq!(read(&plain("<f2", "(4,)", &halves)), f32s(&[4], &[1.0, -2.0, 2f32.powi(-24), f32::INFINITY]));
    assert_eq!(read(&plain("<f8", "()", &0.5f64.to_le_bytes())), f32s(&[], &[0.5]));
    assert_eq!(read(&plain(">f4", "(1L,)", &0.5f32.to_be_bytes())), f32s(&[1], &[0.5]));
    let columns = file("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}", &[0, 3, 1, 4, 2, 5]);
    assert_eq!(read(&columns), Array::U8 { shape: vec![2, 3], data: vec![0, 1, 2, 3, 4, 5] });
    let header = "{\"shape\": (0, 9), \"fortran_order\": False, \"descr\": \"<i8\"}";
    let mut version_2 = b"\x93NUMPY\x02\x00".to_vec();
    version_2.extend(u32::try_from(header.len()).expect("short").to_le_bytes());
    version_2.extend(header.as_bytes());
    assert_eq!(read(&version_2), Array::I64 { shape: vec![0, 9], data: vec![] });
}

#[test]
fn hostile_npy_files_are_refused() {
    assert_eq!(fault(b"hello"), "neither an .npy nor an .npz file");
    assert_eq!(fault(b""), "neither an .npy nor an .npz file");
    assert_eq!(fault(b"\x93NUMPY\x01"), "cut short within the .npy header");
    assert_eq!(fault(b"\x93NUMPY\x09\x00aaaa"), ".npy version 9.0 is unknown");
    assert_eq!(fault(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"), "cut short within the .npy header");
    let huge = "(4294967296, 4294967296, 4294967296)";
    assert!(fault(&plain("<f4", huge, &[0; 8])).ends_with("does not fit 8 bytes of data"));
    assert!(fault(&plain("<f4", "(99999999999999999999999,)", &[0; 8])).contains("not a number"));
    assert!(fault(&plain("<f4", "(-1,)", &[0; 8])).contains("not a number"));
    assert_eq!(fault(&plain("<f4", "(3,)", &[0; 8])), "shape [3] of '<f4' does not fit 8 bytes of data");
    assert_eq!(fault(&plain("<f4", "(1,)", &[0; 8])), "shape [1] of '<f4' does not fit 8 bytes of data");
    assert!(fault(&plain("<f4", &format!("({})", "1,".repeat(40)), &[0; 4])).contains("too many axes"));
    assert!(fault(&plain("|O", "(1,)", &[0; 8])).starts_with("elements of type '|O' cannot be read"));
    assert!(fault(&plain("é4", "(1,)", &[0; 8])).starts_with("elements of type"));
    assert!(fault(&plain("", "(1,)", &[0; 8])).starts_with("elements of type"));
    let records = "{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}";
    assert!(fault(&file(records, &[0; 4])).contains("records"));
    assert!(fault(&file("{'descr': '<f4', 'shape': (1,)}", &[0; 4])).contains("missing"));
    assert!(fault(&file("{'descr': '<f4", &[])).contains("no end"));
}

#[test]
fn files_are_written_whole_and_read_by_name() {
    let folder = std::env::temp_dir().join(format!("peristyle-tensor-io-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let array = Array::I32 { shape: vec![2], data: vec![7, -7] };
    let path = folder.join("x.npy");
    write_tensor(&path, &array).expect("the folder is writable");
    write_tensor(&path, &array).expect("an existing file is replaced");
    assert_eq!(read_tensors(&path).expect("sound"), [(String::new(), array.clone())]);
    assert_eq!(std::fs::read_dir(&folder).expect("the folder is there").count(), 1);
    let missing = read_tensors(&folder.join("none.npy")).expect_err("no such file").to_string();
    assert!(missing.contains("none.npy: "), "{missing}");
    if cfg!(target_os = "linux") {
        let endless = read_tensors(std::path::Path::new("/dev/zero")).expect_err("no tensor").to_string();
        assert_eq!(endless, "/dev/zero: neither an .npy nor an .npz file");
    }
    assert!(write_tensor(&folder.join("no/such/x.npy"), &array).is_err());
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

#[cfg(feature = "npz")]
mod npz {
    use super::super::npz::{pack, read_limited};
    use super::*;

    #[test]
    fn members_are_read_by_name_in_order() {
        let arrays = vec![
            ("images".to_owned(), Array::U8 { shape: vec![1, 3], data: vec![1, 2, 3] }),
            ("a/b".to_owned(), Array::F32 { shape: vec![], data: vec![0.5] }),
        ];
        let bytes = pack(&arrays).expect("packing to memory");
        assert_eq!(bytes, pack(&arrays).expect("packing to memory"));
        assert_eq!(read_npz(&bytes).expect("sound"), arrays);
        for len in 0..bytes.len() {
            assert!(read_npz(&bytes[..len]).is_err(), "cut to {len} bytes");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let zeros = Array::U8 { shape: vec![1 << 20], data: vec![0; 1 << 20] };
        let bytes = pack(&[("bomb".to_owned(), zeros)]).expect("packing to memory");
        assert!(bytes.len() < 4096);
        let e = read_limited(&bytes, 1000).expect_err("past the limit").to_string();
        assert_eq!(e, "unpacks to more than 1000 bytes");
    }
}
