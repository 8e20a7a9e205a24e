//! Fragmented MP4 (ISO/IEC 14496-12, 8.8): a file that is whole after every fragment.

/// Ticks per second of all times.
pub const TIMESCALE: u32 = 90_000;

/// One encoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    /// Units, each behind its length in four bytes.
    pub bytes: Vec<u8>,
    /// How long it is shown, in ticks.
    pub duration: u32,
    /// Whether decoding can begin with it.
    pub is_key: bool,
}

/// What stands before all fragments: one track of H.264 with BT.601 colours in limited range.
///
/// `sps` and `pps` are units with their header byte; `sps` has at least four bytes.
pub fn header(width: u16, height: u16, sps: &[u8], pps: &[u8]) -> Vec<u8> {
    let mut file = boxed(b"ftyp", &[b"isom", &512u32.to_be_bytes(), b"isomiso6avc1mp41"]);
    let handler = boxed(b"hdlr", &[&[0; 8], b"vide", &[0; 12], b"VideoHandler\0"]);
    let references = boxed(b"dref", &[&[0; 4], &1u32.to_be_bytes(), &boxed(b"url ", &[&[0, 0, 0, 1]])]);
    let no_entries = |name: &[u8; 4], zeros: usize| boxed(name, &[&vec![0; zeros]]);
    let samples = boxed(
        b"stbl",
        &[
            &boxed(b"stsd", &[&[0; 4], &1u32.to_be_bytes(), &sample_entry(width, height, sps, pps)]),
            &no_entries(b"stts", 8),
            &no_entries(b"stsc", 8),
            &no_entries(b"stsz", 12),
            &no_entries(b"stco", 8),
        ],
    );
    let information =
        boxed(b"minf", &[&boxed(b"vmhd", &[&[0, 0, 0, 1], &[0; 8]]), &boxed(b"dinf", &[&references]), &samples]);
    // The packed letters `und` stand for no language.
    let media_header = boxed(b"mdhd", &[&[0; 12], &TIMESCALE.to_be_bytes(), &[0; 4], &[0x55, 0xc4, 0, 0]]);
    let media = boxed(b"mdia", &[&media_header, &handler, &information]);
    let fixed = |value: u16| (u32::from(value) << 16).to_be_bytes();
    let track_header = boxed(
        b"tkhd",
        &[&[0, 0, 0, 3], &[0; 8], &1u32.to_be_bytes(), &[0; 24], &unit_matrix(), &fixed(width), &fixed(height)],
    );
    let track = boxed(b"trak", &[&track_header, &media]);
    let movie_header = boxed(
        b"mvhd",
        &[
            &[0; 12],
            &TIMESCALE.to_be_bytes(),
            &[0; 4],
            &0x0001_0000u32.to_be_bytes(),
            &0x0100u16.to_be_bytes(),
            &[0; 10],
            &unit_matrix(),
            &[0; 24],
            &2u32.to_be_bytes(),
        ],
    );
    let defaults = boxed(b"trex", &[&[0; 4], &1u32.to_be_bytes(), &1u32.to_be_bytes(), &[0; 12]]);
    file.extend(boxed(b"moov", &[&movie_header, &track, &boxed(b"mvex", &[&defaults])]));
    file
}

fn sample_entry(width: u16, height: u16, sps: &[u8], pps: &[u8]) -> Vec<u8> {
    let length = |unit: &[u8]| (unit.len() as u16).to_be_bytes();
    let configuration =
        boxed(b"avcC", &[&[1, sps[1], sps[2], sps[3], 0xff, 0xe1], &length(sps), sps, &[1], &length(pps), pps]);
    // Primaries and transfer of BT.709, matrix of BT.601.
    let colour = boxed(b"colr", &[b"nclx", &[0, 1, 0, 1, 0, 6, 0]]);
    boxed(
        b"avc1",
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 16],
            &width.to_be_bytes(),
            &height.to_be_bytes(),
            &0x0048_0000u32.to_be_bytes(),
            &0x0048_0000u32.to_be_bytes(),
            &[0; 4],
            &1u16.to_be_bytes(),
            &[0; 32],
            &[0, 0x18, 0xff, 0xff],
            &configuration,
            &colour,
        ],
    )
}

/// A fragment of frames, the first of which is shown at `start` ticks. `sequence` counts fragments from 1.
pub fn fragment(sequence: u32, start: u64, frames: &[EncodedFrame]) -> Vec<u8> {
    /// Depends on no other frame; depends on others and is no point to begin at.
    const KEY: u32 = 0x0200_0000;
    const DEPENDENT: u32 = 0x0101_0000;
    let mut table = Vec::new();
    for frame in frames {
        table.extend(frame.duration.to_be_bytes());
        table.extend((frame.bytes.len() as u32).to_be_bytes());
        table.extend(if frame.is_key { KEY } else { DEPENDENT }.to_be_bytes());
    }
    let with_offset = |offset: u32| {
        // The offset, and each frame's duration, size and flags.
        let flags = [0, 0, 0x07, 0x01];
        let run = boxed(b"trun", &[&flags, &(frames.len() as u32).to_be_bytes(), &offset.to_be_bytes(), &table]);
        // Offsets count from the beginning of the fragment.
        let head = boxed(b"tfhd", &[&[0, 2, 0, 0], &1u32.to_be_bytes()]);
        let time = boxed(b"tfdt", &[&[1, 0, 0, 0], &start.to_be_bytes()]);
        let number = boxed(b"mfhd", &[&[0; 4], &sequence.to_be_bytes()]);
        boxed(b"moof", &[&number, &boxed(b"traf", &[&head, &time, &run])])
    };
    let data_header = 8;
    let mut bytes = with_offset(0);
    bytes = with_offset(bytes.len() as u32 + data_header);
    let contents: Vec<&[u8]> = frames.iter().map(|frame| frame.bytes.as_slice()).collect();
    bytes.extend(boxed(b"mdat", &contents));
    bytes
}

/// A box: its length, its name, its contents.
fn boxed(name: &[u8; 4], contents: &[&[u8]]) -> Vec<u8> {
    let length = 8 + contents.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_be_bytes());
    bytes.extend(name);
    contents.iter().for_each(|part| bytes.extend(*part));
    bytes
}

fn unit_matrix() -> Vec<u8> {
    let rows = [0x0001_0000u32, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
    rows.iter().flat_map(|value| value.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_mp4_finds_every_frame() {
        let frame = |byte, duration, is_key| EncodedFrame { bytes: vec![byte; 5], duration, is_key };
        let mut file = header(64, 48, &[0x67, 66, 0, 30, 1], &[0x68, 2]);
        file.extend(fragment(1, 0, &[frame(1, 3000, true), frame(2, 3003, false)]));
        file.extend(fragment(2, 6003, &[frame(3, 4000, true)]));
        let mp4 = re_mp4::Mp4::read_bytes(&file).unwrap();
        let track = &mp4.tracks()[&1];
        assert_eq!((track.width, track.height, track.timescale), (64, 48, u64::from(TIMESCALE)));
        assert_eq!(track.raw_codec_config(&mp4).unwrap()[8..13], [0x67, 66, 0, 30, 1]);
        let seen: Vec<_> = track
            .samples
            .iter()
            .map(|sample| {
                (file[sample.byte_range()].to_vec(), sample.decode_timestamp, sample.duration, sample.is_sync)
            })
            .collect();
        let expected = [(1, 0, 3000, true), (2, 3000, 3003, false), (3, 6003, 4000, true)];
        assert_eq!(seen, expected.map(|(byte, time, duration, key)| (vec![byte; 5], time, duration, key)));
    }
}
