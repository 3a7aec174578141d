//! Reading the slices of a body.
//!
//! Invariants:
//! - No byte is given before the slice header proved whose it is, and the checksum in it was verified.
//! - Read-ahead depends on how many buffers the core has left. A reader that is not asked for more holds what it read
//!   ahead, and no more.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use zerocopy::IntoBytes;

use super::chunk::{Bytes, Chunk, appetite};
use super::hedge::answer_of;
use super::mend::{Mend, PinGuard, may_mend};
use super::striped::{StripedBody, StripedReading};
use crate::device::IoFuture;
use crate::device::pace::{Paces, Patience};
use crate::error::{EngineError, Result};
use crate::extent::sets::Places;
use crate::extent::{Drives, SetPlace, Shape, SlicePlace};
use crate::format::record::SegmentV1;
use crate::format::slice::{CRC_BLOCK_BYTES, Membership, SLICE_BYTES, SliceHeaderOnDisk};
use crate::format::{BLOCK_BYTES, blocks_up};
use crate::hook::Bug;
use crate::ring::Buffer;

/// Piece size in bytes and read-ahead in pieces for a reader that nobody waits for.
const GENTLE: (usize, usize) = (256 << 10, 1);

/// A piece of a slice that is being read.
struct Piece {
    planned: Planned,
    data: IoFuture,
    /// The read of the slice's header, for the first piece of a slice.
    header: Option<IoFuture>,
    /// The patience with both, if a client waits for them.
    patience: Option<Patience>,
    /// The home whose copy is read.
    home: usize,
    /// The header is to be read again, from this home.
    lacks_header: bool,
    /// The data are to be read again, from this home, into this buffer if there is one.
    lacks_data: bool,
    buffer: Option<Buffer>,
    /// What is wrong with the header, and on which home.
    flaw: Option<(EngineError, usize)>,
    /// What was read, once it is verified.
    verified: Option<Buffer>,
    /// The homes whose copies are bad, and whether the header is.
    bad: Vec<(usize, bool)>,
}

/// Reads slices that lie whole on each home, and has striped ones read.
pub(super) struct SliceReader {
    /// Keeps what is read, and what is written over a bad copy of it.
    pub pin: Rc<PinGuard>,
    pub segments: Vec<SegmentV1>,
    /// Where the sets of the segments are.
    pub sets: Places,
    pieces: VecDeque<Piece>,
    /// The end of read-ahead as an offset in the object; `None` before the first read.
    ahead: Option<u64>,
    /// The slice that the last header read belongs to: generation and number.
    header_asked: Option<(u64, u32)>,
    header: Option<Box<SliceHeaderOnDisk>>,
    pub gentle: bool,
    /// The home that is read first, or `None` for the one with the shortest queue.
    pub from_home: Option<u8>,
    pub shape: Shape,
    /// How striped sets are read.
    pub striped: Option<Box<StripedReading>>,
}

impl SliceReader {
    pub fn new(pin: Rc<PinGuard>, segments: Vec<SegmentV1>, sets: Places) -> Self {
        let shape = pin.core.layout.geometry_of(0).shape;
        Self {
            pin,
            segments,
            sets,
            pieces: VecDeque::new(),
            ahead: None,
            header_asked: None,
            header: None,
            gentle: false,
            from_home: None,
            shape,
            striped: shape.is_striped().then(Box::default),
        }
    }

    pub async fn next(&mut self, range: Range<u64>) -> Result<Chunk> {
        if let Some(striped) = &mut self.striped {
            let from_home = self.from_home.map(usize::from);
            let Self { pin, segments, sets, gentle, .. } = self;
            let body = StripedBody { pin, segments, sets, gentle: *gentle, from_home };
            return striped.next(body, range).await;
        }
        let mut ahead = *self.ahead.get_or_insert(range.start);
        let (piece_bytes, depth) = if self.gentle { GENTLE } else { appetite(&self.pin.core.pool) };
        while ahead < range.end && self.pieces.len() < depth {
            let planned = self.plan(ahead, range.end, piece_bytes);
            let Some(buffer) = self.buffer(planned.read_bytes()).await? else { break };
            ahead += planned.wanted.len() as u64;
            self.start(planned, buffer).await;
            self.ahead = Some(ahead);
        }
        self.finish_first().await
    }

    /// Returns whether a client waits for it.
    fn is_clients(&self) -> bool {
        !self.gentle && self.from_home.is_none()
    }

    /// Takes a buffer. Only the first piece waits for one; read-ahead does without.
    async fn buffer(&self, bytes: usize) -> Result<Option<Buffer>> {
        if !self.pieces.is_empty() {
            return Ok(self.pin.core.pool.try_take(bytes));
        }
        self.pin.core.buffer(bytes).await.map(Some)
    }

    /// Plans the piece at `offset` of the object. It lies within one slice and has whole checksum
    /// blocks.
    fn plan(&self, offset: u64, end: u64, piece_bytes: usize) -> Planned {
        let (segment, place, from) = self.shape.slice_at(&self.segments, offset);
        let start = from - from % CRC_BLOCK_BYTES;
        let left_in_object = (end - offset).min(SLICE_BYTES as u64) as usize;
        let to = (start + piece_bytes).min(place.length as usize).min(from + left_in_object);
        let payload_end = to.next_multiple_of(CRC_BLOCK_BYTES).min(place.length as usize);
        let at = self.sets.of(place.extent);
        Planned { place, at, generation: segment.generation, start, wanted: from..to, payload_end }
    }

    async fn start(&mut self, planned: Planned, buffer: Buffer) {
        let pin = self.pin.clone();
        let drives = pin.drives();
        let home = match self.from_home {
            Some(home) => drives.copy(planned.at, usize::from(home)).at,
            None => {
                drives.pick(planned.at, &[]).unwrap_or_else(|| panic!("no drive of {:?} is here", planned.at))
            }
        };
        let slice = (planned.generation, planned.place.number);
        let header = if self.header_asked.replace(slice) == Some(slice) {
            None
        } else {
            let buffer = pin.core.pool.take_for_step(BLOCK_BYTES).await;
            Some(planned.read_header(drives, home, buffer))
        };
        let data = planned.read_data(drives, home, buffer);
        let (flaw, verified, bad) = (None, None, Vec::new());
        let (lacks_header, lacks_data, buffer) = (false, false, None);
        let patience = drives.paces().filter(|_| self.is_clients()).map(Paces::patience);
        let piece = Piece {
            planned,
            data,
            header,
            patience,
            home,
            lacks_header,
            lacks_data,
            buffer,
            flaw,
            verified,
            bad,
        };
        self.pieces.push_back(piece);
    }

    /// Returns the first piece once it is read, from one copy after the other until one is what it should
    /// be. The piece stays the first one until then, so that a caller may give up and call again.
    async fn finish_first(&mut self) -> Result<Chunk> {
        let pin = self.pin.clone();
        while self.first().verified.is_none() {
            self.read_again().await?;
            let (judged, buffer) = self.read_first().await;
            let knows_header = self.header.is_some();
            let piece = self.first();
            let Err((error, bad)) = judged else {
                piece.verified = Some(buffer);
                break;
            };
            piece.bad.push(bad);
            let bad: Vec<usize> = piece.bad.iter().map(|(home, _)| *home).collect();
            let Some(home) = pin.drives().pick(piece.planned.at, &bad) else {
                self.pieces.pop_front();
                return Err(error);
            };
            piece.home = home;
            (piece.lacks_header, piece.lacks_data) = (!knows_header, true);
            // A drive that does not answer keeps the buffer.
            piece.buffer = Some(buffer).filter(|buffer| buffer.capacity() >= piece.planned.read_bytes());
        }
        if !self.first().bad.is_empty() {
            self.mend_first().await;
        }
        match self.pieces.pop_front() {
            Some(Piece { verified: Some(buffer), planned: Planned { wanted, start, .. }, .. }) => {
                Ok(Chunk { bytes: Bytes::Read(buffer), range: wanted.start - start..wanted.end - start })
            }
            _ => panic!("the first piece was verified"),
        }
    }

    fn first(&mut self) -> &mut Piece {
        match self.pieces.front_mut() {
            Some(piece) => piece,
            None => panic!("a reader with bytes left has a piece in flight"),
        }
    }

    /// Starts to read the data of the first piece again if that is wanted. A caller that gives up, or gets
    /// no buffer, may call again.
    async fn read_again(&mut self) -> Result<()> {
        let pin = self.pin.clone();
        let piece = self.first();
        if !piece.lacks_data {
            return Ok(());
        }
        let buffer = match piece.buffer.take() {
            Some(buffer) => buffer,
            None => pin.core.buffer(piece.planned.read_bytes()).await?,
        };
        piece.data = piece.planned.read_data(pin.drives(), piece.home, buffer);
        piece.lacks_data = false;
        Ok(())
    }

    /// Waits until the first piece is read, and judges it. An error comes with the home whose copy is bad, and
    /// whether its header is.
    async fn read_first(&mut self) -> (std::result::Result<(), (EngineError, (usize, bool))>, Buffer) {
        let (pin, may_hedge) = (self.pin.clone(), self.is_clients());
        let Some(piece) = self.pieces.front_mut() else {
            panic!("a reader with bytes left has a piece in flight")
        };
        let Planned { place, at, generation, start, payload_end, .. } = piece.planned;
        let (extent, offset) = (at.extent(), place.offset);
        let damaged = |what| EngineError::Damaged { what, extent, offset };
        if piece.lacks_header {
            let buffer = pin.core.pool.take_for_step(BLOCK_BYTES).await;
            piece.header = Some(piece.planned.read_header(pin.drives(), piece.home, buffer));
            piece.lacks_header = false;
        }
        let of_data = (at, piece.planned.data_at(), piece.planned.read_bytes());
        let mut patience = piece.patience.take();
        let bad: Vec<usize> = piece.bad.iter().map(|(home, _)| *home).collect();
        if let Some(header) = &mut piece.header {
            let of_header = (at, place.offset, BLOCK_BYTES);
            let ((result, buffer), home) = match may_hedge {
                true => {
                    answer_of((&pin.core, pin.drives()), of_header, (piece.home, &bad), header, &mut patience)
                        .await
                }
                false => (header.await, piece.home),
            };
            piece.header = None;
            let parsed = result.map_err(EngineError::read_failed);
            let parsed =
                parsed.and_then(|()| SliceHeaderOnDisk::parse(&buffer).map_err(|_| damaged("slice header")));
            let owner = (pin.core.layout.geometry_of(0).format_id, pin.shard);
            let life = (at.birth, generation);
            let own = |header: &SliceHeaderOnDisk| place.is_headed_by(header, owner, life, Membership::ALIKE);
            self.header = None;
            match parsed {
                Ok(header) if own(&header) => self.header = Some(Box::new(header)),
                Ok(_) => piece.flaw = Some((damaged("slice identity"), home)),
                Err(error) => piece.flaw = Some((error, home)),
            }
        }
        let ((result, buffer), home) = match may_hedge {
            true => {
                answer_of(
                    (&pin.core, pin.drives()),
                    of_data,
                    (piece.home, &bad),
                    &mut piece.data,
                    &mut patience,
                )
                .await
            }
            false => ((&mut piece.data).await, piece.home),
        };
        if let Some((flaw, home)) = piece.flaw.take() {
            return (Err((flaw, (home, true))), buffer);
        }
        if let Err(error) = result {
            return (Err((EngineError::read_failed(error), (home, false))), buffer);
        }
        let Some(header) = &self.header else {
            // The slice's first piece brought no header, and was the reader's last.
            return (Err((damaged("slice header"), (home, true))), buffer);
        };
        let ignored = pin.core.layout.geometry_of(0).planted.is(Bug::IgnoreCrc);
        if !ignored && !header.verifies(start, &buffer[..payload_end - start]) {
            return (Err((damaged("slice data"), (home, false))), buffer);
        }
        (Ok(()), buffer)
    }

    /// Has the first piece, which was read and verified, written over the copies that are bad.
    async fn mend_first(&mut self) {
        let (Some(piece), Some(header)) = (self.pieces.front_mut(), &self.header) else { return };
        let bad = std::mem::take(&mut piece.bad);
        let Some(data) = &piece.verified else { return };
        let (planned, waits) = (&piece.planned, self.from_home.is_some());
        for (home, of_header) in bad {
            if of_header && may_mend(&self.pin.core, waits).await {
                let (at, offset, blocks) = (planned.at, planned.place.offset, header.as_bytes().to_vec());
                Mend { home, at, offset, blocks, verified: None }.start(&self.pin);
            }
            if may_mend(&self.pin.core, waits).await {
                let mut blocks = data[..planned.payload_end - planned.start].to_vec();
                blocks.resize(planned.read_bytes(), 0);
                let (at, offset) = (planned.at, planned.data_at());
                Mend { home, at, offset, blocks, verified: None }.start(&self.pin);
            }
        }
    }
}

/// A piece of a slice, as it is to be read.
struct Planned {
    place: SlicePlace,
    at: SetPlace,
    /// Generation of the slice's segment.
    generation: u64,
    /// Offset within the payload at which the read starts, bytes.
    start: usize,
    /// The range of the payload that the reader wants, bytes.
    wanted: Range<usize>,
    payload_end: usize,
}

impl Planned {
    fn read_bytes(&self) -> usize {
        blocks_up(self.payload_end - self.start)
    }

    /// Returns the byte offset in the set at which the read starts.
    fn data_at(&self) -> u32 {
        self.place.offset + (BLOCK_BYTES + self.start) as u32
    }

    fn read_header(&self, drives: &Drives, home: usize, buffer: Buffer) -> IoFuture {
        drives.copy(self.at, home).read(self.place.offset, BLOCK_BYTES, buffer)
    }

    fn read_data(&self, drives: &Drives, home: usize, buffer: Buffer) -> IoFuture {
        drives.copy(self.at, home).read(self.data_at(), self.read_bytes(), buffer)
    }
}
