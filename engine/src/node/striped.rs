//! Reading bodies that lie in striped sets, on the core that asked for them.
//!
//! A read touches only the members that have what is wanted, in whole checksum blocks. Where one of them is damaged or
//! not here, what it has is made from the others, and written anew if its drive is here.
//!
//! Invariants:
//! - No byte is given before it was verified: by the header of the member that it was read from, or by that of a
//!   parity member where it was made.
//! - A group stays the first one until it is verified, so that a caller may give up and call again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use zerocopy::IntoBytes;

use super::chunk::{Chunk, appetite};
use super::hedge::let_end;
use super::mend::{Mend, PinGuard, may_mend};
use crate::device::pace::{LATE_MAX, Paces, Patience};
use crate::error::{EngineError, Result};
use crate::extent::sets::Places;
use crate::format::BLOCK_BYTES;
use crate::format::record::SegmentV1;
use crate::format::slice::CRC_BLOCK_BYTES;
use crate::hook::{Bug, Rare, reached};
use crate::ring::Buffer;
use crate::ring::arena::SharedBuffer;
use crate::shard::{
    Ended, GroupBuffers, GroupReads, Headers, MemberFlaw, SliceFlaw, StripedSlice, choose_members,
};
use crate::stripe::ReedSolomon;

/// What is read, and how.
#[derive(Clone, Copy)]
pub(super) struct StripedBody<'a> {
    pub pin: &'a Rc<PinGuard>,
    pub segments: &'a [SegmentV1],
    /// Where the sets of the segments are.
    pub sets: &'a Places,
    /// Nobody waits for it.
    pub gentle: bool,
    /// Only what lies on the drive at this place is read, and verified.
    pub from_home: Option<usize>,
}

impl StripedBody<'_> {
    /// Returns the paces of the drives, if a client waits for what is read and other drives may stand in.
    fn paces(&self) -> Option<&Rc<Paces>> {
        let is_clients = !self.gentle && self.from_home.is_none();
        self.pin.drives().paces().filter(|_| is_clients)
    }
}

/// The headers of a slice, which groups of it share.
type SharedHeaders = Rc<RefCell<Headers>>;

/// The reading of a body in striped sets.
#[derive(Default)]
pub(super) struct StripedReading {
    groups: VecDeque<Group>,
    /// The end of read-ahead as an offset in the object; `None` before the first read.
    ahead: Option<u64>,
    /// The slice that is read, by generation and number, and its headers.
    latest: Option<((u64, u32), SharedHeaders)>,
    /// What is verified and not given yet.
    ready: Option<Ready>,
    /// The next group is to be of one row: there were not buffers enough for more, or no K members were whole in all of
    /// its rows.
    is_short: bool,
    /// The checksums of the member of the slice that is written anew, with its header.
    rebuilt: Option<Vec<u32>>,
    /// What was wrong with a slice that was passed over, since too few of its members are whole.
    flawed: Option<EngineError>,
}

/// Pieces of the same bytes of the chunks of some members.
struct Planned {
    slice: StripedSlice,
    /// Byte offset of the pieces in the chunks.
    start: usize,
    /// Bytes of each piece.
    length: usize,
    /// The data members whose pieces are wanted.
    columns: Range<usize>,
    /// The part of the slice's payload that is wanted.
    wanted: Range<usize>,
}

struct Group {
    planned: Planned,
    headers: SharedHeaders,
    reads: Option<GroupReads>,
    /// The members that are bad, and whether their headers are.
    bad: Vec<(usize, bool)>,
    /// The patience with the reads, if a client waits for them.
    patience: Option<Patience>,
    /// Other members are read too, since some are late.
    is_hedged: bool,
    error: Option<EngineError>,
}

/// The reason why a group is not given.
enum Halt {
    /// It needs several buffers, or what is read ahead has them, and none is free.
    Short,
    Failed(EngineError),
}

struct Ready {
    planned: Planned,
    pieces: Vec<SharedBuffer>,
    /// The next byte of the slice's payload.
    next: usize,
}

impl StripedReading {
    /// Returns whether what comes next is verified.
    pub fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Returns the next verified bytes of the range, or counts those of the drive that is to be read.
    ///
    /// # Errors
    /// Returns [`EngineError::Damaged`], [`EngineError::ReadFailed`] or [`EngineError::Busy`].
    pub async fn next(&mut self, body: StripedBody<'_>, range: Range<u64>) -> Result<Chunk> {
        if let Some(home) = body.from_home {
            return self.judge_next(body, home, range).await;
        }
        while self.ready.is_none() {
            let (piece_bytes, depth) = appetite(&body.pin.core.pool);
            let (plenty, depth) = if body.gentle { (false, 1) } else { (piece_bytes >= 1 << 20, depth) };
            let (plenty, depth) =
                if std::mem::take(&mut self.is_short) { (false, 1) } else { (plenty, depth) };
            let mut ahead = *self.ahead.get_or_insert(range.start);
            // A first one that still waits for buffers is to ask for headers before those behind it.
            let waits = |groups: &VecDeque<Group>| groups.front().is_some_and(|group| group.reads.is_none());
            while ahead < range.end && self.groups.len() < depth && !waits(&self.groups) {
                let planned = self.plan(body, (ahead, range.end), plenty);
                ahead += planned.wanted.len() as u64;
                let mut group = self.group(planned);
                let is_begun = group.begin_at_once(body);
                if !is_begun && !self.groups.is_empty() {
                    break;
                }
                self.groups.push_back(group);
                self.ahead = Some(ahead);
            }
            self.finish_first(body).await?;
        }
        Ok(self.give())
    }

    fn group(&mut self, planned: Planned) -> Group {
        let headers = self.headers_of(&planned.slice);
        // The headers of those are bad, or are written anew already.
        let bad = headers.borrow().bad.iter().map(|member| (*member, false)).collect();
        Group { planned, headers, reads: None, bad, patience: None, is_hedged: false, error: None }
    }

    /// Returns the headers of a slice, which groups of it share.
    fn headers_of(&mut self, slice: &StripedSlice) -> SharedHeaders {
        let key = (slice.generation, slice.place.number);
        match &self.latest {
            Some((latest, headers)) if *latest == key => headers.clone(),
            _ => {
                let headers = Rc::new(Headers::of(slice));
                self.latest = Some((key, headers.clone()));
                headers
            }
        }
    }

    /// Plans the group at an offset of the object: rows of one slice, or a part of one row.
    fn plan(&self, body: StripedBody<'_>, (offset, end): (u64, u64), plenty: bool) -> Planned {
        let (slice, from) = slice_at(body, offset);
        let (shape, payload) = (slice.shape, slice.place.length as usize);
        let to = payload.min(from + (end - offset).min(payload as u64) as usize);
        let row = shape.row_bytes();
        let start = from / row * CRC_BLOCK_BYTES;
        let end_of_row = (from / row * row + row).min(payload);
        if !from.is_multiple_of(row) || to < end_of_row {
            let wanted = from..to.min(end_of_row);
            let columns =
                shape.piece_at(from, payload).member..shape.piece_at(wanted.end - 1, payload).member + 1;
            let length = (slice.chunk_bytes() - start).min(CRC_BLOCK_BYTES);
            return Planned { slice, start, length, columns, wanted };
        }
        let rows = GroupBuffers::new(shape.members(), slice.chunk_bytes() - start, plenty).piece;
        // A row of which only a part is wanted is read by itself.
        let whole_rows = if to == payload { usize::MAX } else { (to - from) / row * CRC_BLOCK_BYTES };
        let length = rows.min(whole_rows);
        let wanted = from..payload_end(&slice, start + length).min(to);
        Planned { slice, start, length, columns: 0..shape.data(), wanted }
    }

    /// Waits until the first group is read and verified, whatever members that takes.
    async fn finish_first(&mut self, body: StripedBody<'_>) -> Result<()> {
        let is_alone = self.groups.len() == 1;
        let Some(group) = self.groups.front_mut() else { panic!("a reader with bytes left has a group") };
        let ended = group.finish(body, is_alone).await;
        let is_long = group.planned.length > CRC_BLOCK_BYTES;
        match ended {
            Ok(pieces) => {
                let Some(group) = self.groups.pop_front() else { panic!("the first group was verified") };
                group.mend(body, &pieces).await;
                let pieces = pieces.into_iter().map(Buffer::share).collect();
                let next = group.planned.wanted.start;
                self.ready = Some(Ready { planned: group.planned, pieces, next });
                Ok(())
            }
            // Read-ahead holds buffers too. All is planned again, in groups that need one buffer each.
            Err(Halt::Short) => {
                self.plan_anew();
                Ok(())
            }
            // Each row of it may have enough members, if other ones in each.
            Err(Halt::Failed(error)) if error.is_of_copy() && is_long => {
                self.plan_anew();
                Ok(())
            }
            // There was no buffer: the caller may try again.
            Err(Halt::Failed(error @ EngineError::Busy { .. })) => Err(error),
            Err(Halt::Failed(error)) => {
                self.groups.pop_front();
                Err(error)
            }
        }
    }

    /// Gives up what is read ahead, and has the first group planned again, of one row.
    fn plan_anew(&mut self) {
        self.groups.clear();
        (self.ahead, self.latest, self.is_short) = (None, None, true);
    }

    /// Gives what lies next to each other of what is ready.
    fn give(&mut self) -> Chunk {
        let Some(Ready { planned, pieces, next }) = &mut self.ready else { panic!("a group is ready") };
        let piece = planned.slice.shape.piece_at(*next, planned.slice.place.length as usize);
        let length = piece.length.min(planned.wanted.end - *next);
        let from = piece.at - planned.start;
        let bytes = pieces[piece.member - planned.columns.start].another();
        *next += length;
        if *next == planned.wanted.end {
            self.ready = None;
        }
        Chunk::read(bytes, from..from + length)
    }

    /// Verifies the next group of the member on a drive, and has it written anew if it is not what it should be.
    async fn judge_next(&mut self, body: StripedBody<'_>, home: usize, range: Range<u64>) -> Result<Chunk> {
        let (slice, from) = slice_at(body, range.start);
        let (payload, drives) = (slice.place.length as usize, body.pin.drives());
        let row = slice.shape.row_bytes();
        assert!(from.is_multiple_of(row), "a drive's part of a body is read from the beginning");
        let Some(member) = slice.member_on(drives, home).filter(|_| !drives.get(home).has_left()) else {
            return self.pass(range, payload - from, 0);
        };
        let start = from / row * CRC_BLOCK_BYTES;
        let (chunks, free) = body.pin.core.pool.chunks();
        let plenty = free * 2 > chunks && !std::mem::take(&mut self.is_short);
        let length = GroupBuffers::new(slice.shape.members(), slice.chunk_bytes() - start, plenty).piece;
        let planned = Planned { slice, start, length, columns: 0..slice.shape.data(), wanted: from..payload };
        let headers = self.headers_of(&slice);
        if start == 0 {
            self.rebuilt = None;
        }
        if self.rebuilt.is_none() {
            let buffers = GroupReads::buffers(&headers.borrow(), &[member], 0, length);
            let pieces = match (buffers.try_take(&body.pin.core.pool), buffers.only()) {
                (Some(pieces), _) => pieces,
                (None, Some(length)) => buffers.pieces_of(body.pin.core.buffer(length).await?),
                (None, None) => return self.pass_short(range),
            };
            let group = (start, length);
            let mut reads =
                GroupReads::start(&slice, drives, &mut headers.borrow_mut(), &[member], group, pieces);
            let flaws = reads.finish(&slice, &headers).await;
            drop(reads);
            match flaws.into_iter().next() {
                None => return self.pass(range, self.passed(&planned), length),
                Some(MemberFlaw { of_header: true, .. }) => self.rebuilt = Some(Vec::new()),
                Some(_) => {}
            }
        }
        if drives.get(home).has_left() {
            return self.pass(range, payload - from, 0);
        }
        let mut group = Group {
            planned,
            headers,
            reads: None,
            bad: vec![(member, true)],
            patience: None,
            is_hedged: false,
            error: None,
        };
        let pieces = match group.finish(body, true).await {
            Ok(pieces) => pieces,
            Err(Halt::Failed(error)) if error.is_of_copy() => {
                // The other slices are judged too.
                self.rebuilt = None;
                self.flawed.get_or_insert(error);
                return self.pass(range, payload - from, 0);
            }
            Err(Halt::Failed(error)) => return Err(error),
            Err(Halt::Short) => return self.pass_short(range),
        };
        self.rebuild(body, home, (&group.planned, member), &pieces).await;
        self.pass(range, self.passed(&group.planned), length)
    }

    /// Counts nothing, and has the next pieces be short ones, which need one buffer.
    fn pass_short(&mut self, range: Range<u64>) -> Result<Chunk> {
        self.is_short = true;
        self.pass(range, 0, 0)
    }

    /// Counts bytes that were judged. At the end of the range it tells of what could not be made.
    fn pass(&mut self, range: Range<u64>, payload: usize, read: usize) -> Result<Chunk> {
        match self.flawed.take_if(|_| range.start + payload as u64 >= range.end) {
            Some(error) => Err(error),
            None => Ok(Chunk::judged(payload, read)),
        }
    }

    /// Returns the bytes of payload that a group over all rows covers.
    fn passed(&self, planned: &Planned) -> usize {
        payload_end(&planned.slice, planned.start + planned.length) - planned.wanted.start
    }

    /// Has the piece of a member written anew, which is made from those of all data members, and at the end its header
    /// if that is lost.
    async fn rebuild(
        &mut self,
        body: StripedBody<'_>,
        home: usize,
        (planned, member): (&Planned, usize),
        data: &[Buffer],
    ) {
        let Planned { slice, start, length, .. } = planned;
        let (start, length) = (*start, *length);
        let blocks = slice.piece_of(codec_of(body), member, data, length);
        if let Some(crcs) = &mut self.rebuilt {
            crcs.extend(blocks.chunks(CRC_BLOCK_BYTES).map(crc32c::crc32c));
        }
        may_mend(&body.pin.core, true).await;
        let offset = slice.place.offset + (BLOCK_BYTES + start) as u32;
        Mend { home, at: slice.at, offset, blocks, verified: None }.start(body.pin);
        let is_last = start + length == slice.chunk_bytes();
        if let Some(own) = self.rebuilt.take_if(|_| is_last) {
            let Some((_, headers)) = &self.latest else { return };
            let header = slice.header(member, &own, &headers.borrow());
            may_mend(&body.pin.core, true).await;
            let blocks = header.as_bytes().to_vec();
            Mend { home, at: slice.at, offset: slice.place.offset, blocks, verified: None }.start(body.pin);
        }
    }
}

impl Group {
    /// Starts the reads if there are buffers now.
    fn begin_at_once(&mut self, body: StripedBody<'_>) -> bool {
        let Some(members) = self.choose(body) else { return true };
        let pieces = self.buffers(&members).try_take(&body.pin.core.pool);
        let is_begun = pieces.is_some();
        pieces.into_iter().for_each(|pieces| self.start(body, &members, pieces));
        is_begun
    }

    fn choose(&self, body: StripedBody<'_>) -> Option<Vec<usize>> {
        let bad: Vec<usize> = self.bad.iter().map(|(member, _)| *member).collect();
        let Planned { slice, columns, .. } = &self.planned;
        choose_members(slice, body.pin.drives(), columns.clone(), &bad)
    }

    /// Returns the buffers for the pieces of these members, and for what is made from them.
    fn buffers(&self, members: &[usize]) -> GroupBuffers {
        let Planned { columns, length, .. } = &self.planned;
        let made = columns.clone().filter(|member| !members.contains(member)).count();
        GroupReads::buffers(&self.headers.borrow(), members, made, *length)
    }

    fn start(&mut self, body: StripedBody<'_>, members: &[usize], pieces: Vec<Buffer>) {
        let Planned { slice, start, length, .. } = &self.planned;
        let (drives, headers) = (body.pin.drives(), &mut self.headers.borrow_mut());
        self.reads = Some(GroupReads::start(slice, drives, headers, members, (*start, *length), pieces));
        self.is_hedged = false;
        self.patience = body.paces().map(Paces::patience);
    }

    /// Reads until the wanted pieces are verified, from other members where some are bad, and returns them. It
    /// waits for a buffer only if it `is_alone`: what is read ahead holds some.
    async fn finish(
        &mut self,
        body: StripedBody<'_>,
        is_alone: bool,
    ) -> std::result::Result<Vec<Buffer>, Halt> {
        loop {
            if self.reads.is_none() {
                let Some(members) = self.choose(body) else {
                    let few = self.damaged(body, 0, "slice: too few of its drives are here");
                    return Err(Halt::Failed(self.error.take().unwrap_or(few)));
                };
                let buffers = self.buffers(&members);
                let pieces = match (buffers.try_take(&body.pin.core.pool), buffers.only()) {
                    (Some(pieces), _) => pieces,
                    (None, Some(length)) if is_alone => {
                        let whole = body.pin.core.buffer(length).await.map_err(Halt::Failed)?;
                        buffers.pieces_of(whole)
                    }
                    (None, _) => return Err(Halt::Short),
                };
                self.start(body, &members, pieces);
            }
            let flaws = self.wait_for_enough(body).await;
            for MemberFlaw { member, of_header, flaw } in flaws {
                self.error = Some(self.refused(body, member, flaw));
                self.bad.push((member, of_header));
                if of_header {
                    self.headers.borrow_mut().bad.push(member);
                }
            }
            let Some(mut reads) = self.reads.take() else { panic!("the reads were started") };
            let Planned { slice, columns, .. } = &self.planned;
            if reads.are_enough(columns, slice.shape.data()) {
                let late = reads.keep_enough(columns, slice.shape.data());
                late.into_iter().for_each(|read| let_end(&body.pin.core, read));
                // Headers that are late are to be asked for by whoever needs them.
                self.headers.borrow_mut().ask_again();
                // What is merely late, or slow, is not missing.
                let is_missing = |member: usize| {
                    let copy = slice.copy(body.pin.drives(), member);
                    copy.is_none_or(|copy| !copy.drive.is_whole())
                        || self.bad.iter().any(|(bad, _)| *bad == member)
                };
                if columns.clone().any(|member| !reads.has(member) && is_missing(member)) {
                    reached(Rare::SliceDecoded);
                    body.pin.core.decoded.set(body.pin.core.decoded.get() + 1);
                }
                let pieces = reads.pieces(slice, codec_of(body), &self.headers, columns.clone());
                return pieces.map_err(|flaw| Halt::Failed(self.refused(body, 0, flaw)));
            }
            // What another group has asked for, and gave up, is asked for again.
            self.headers.borrow_mut().ask_again();
        }
    }

    /// Waits until the members that are read are verified, or as many as are enough where some drives are late.
    async fn wait_for_enough(&mut self, body: StripedBody<'_>) -> Vec<MemberFlaw> {
        for _ in 0..LATE_MAX {
            if self.is_hedged {
                break;
            }
            let again = || body.paces().map(Paces::patience_again);
            let Some(patience) = self.patience.take().or_else(again) else { break };
            let Some(reads) = &mut self.reads else { panic!("the reads were started") };
            let ended = reads.finish_enough(&self.planned.slice, &self.headers, None, Some(&patience));
            match ended.await {
                Ended::All(flaws) => return flaws,
                Ended::Late => self.is_hedged = self.hedge(body),
            }
        }
        let Some(reads) = &mut self.reads else { panic!("the reads were started") };
        let Planned { slice, columns, .. } = &self.planned;
        let enough = Some((columns, slice.shape.data())).filter(|_| self.is_hedged);
        match reads.finish_enough(slice, &self.headers, enough, None).await {
            Ended::All(flaws) => flaws,
            Ended::Late => panic!("nobody is impatient"),
        }
    }

    /// Reads other members too, where some are late, so many that these are not needed. Returns whether there are
    /// such members, and buffers for them.
    fn hedge(&mut self, body: StripedBody<'_>) -> bool {
        let Planned { slice, length, columns, .. } = &self.planned;
        let Some(reads) = &mut self.reads else { panic!("the reads were started") };
        let drives = body.pin.drives();
        // Headers that others have asked for may never come.
        self.headers.borrow_mut().ask_again();
        let (members, late, verified) = (reads.members(), reads.late(), reads.verified());
        let bad: Vec<usize> = self.bad.iter().map(|(member, _)| *member).collect();
        let is_fast =
            |member: &usize| drives.member(slice.at, *member).is_some_and(|copy| copy.drive.is_fast());
        let others = (0..slice.shape.members()).filter(|member| !members.contains(member));
        let others: Vec<usize> = others
            .filter(|member| !bad.contains(member) && is_fast(member))
            .take(slice.shape.data().saturating_sub(verified.len()))
            .collect();
        if late.is_empty() || verified.len() + others.len() < slice.shape.data() {
            return false;
        }
        let made = columns.clone().filter(|member| !verified.contains(member)).count();
        let buffers = GroupReads::buffers(&self.headers.borrow(), &others, made, *length);
        let Some(pieces) = buffers.try_take(&body.pin.core.pool) else { return false };
        let watches: Vec<_> =
            late.iter().filter_map(|member| drives.member(slice.at, *member)?.drive.watch.clone()).collect();
        let Some(paces) = drives.paces() else { return false };
        if !paces.may_hedge(watches.iter().map(|watch| watch.pace())) {
            return false;
        }
        reached(Rare::ReadHedged);
        reads.add(slice, drives, &mut self.headers.borrow_mut(), &others, pieces);
        if slice.planted.is(Bug::MendLateDrive) {
            self.bad.extend(late.into_iter().map(|member| (member, false)));
        }
        true
    }

    /// Has the pieces of bad members that are wanted written anew, and their headers if these are bad and their
    /// checksums are known.
    async fn mend(&self, body: StripedBody<'_>, pieces: &[Buffer]) {
        let Planned { slice, start, length, columns, .. } = &self.planned;
        let drives = body.pin.drives();
        for (member, of_header) in self.bad.iter().copied().filter(|(member, _)| columns.contains(member)) {
            let Some(home) = slice.copy(drives, member).map(|copy| copy.at) else { continue };
            let at = slice.at;
            let header = match self.headers.borrow().of_parity(slice).filter(|_| of_header) {
                Some(parity) => {
                    let blocks = (0..slice.chunk_bytes()).step_by(CRC_BLOCK_BYTES);
                    let own: Vec<u32> = blocks.map(|at| parity.data_crc(member, at)).collect();
                    Some(slice.header(member, &own, &self.headers.borrow()))
                }
                None => None,
            };
            if let Some(header) = header
                && may_mend(&body.pin.core, false).await
            {
                let (offset, blocks) = (slice.place.offset, header.as_bytes().to_vec());
                Mend { home, at, offset, blocks, verified: None }.start(body.pin);
            }
            if may_mend(&body.pin.core, false).await {
                let blocks = pieces[member - columns.start][..*length].to_vec();
                let offset = slice.place.offset + (BLOCK_BYTES + start) as u32;
                Mend { home, at, offset, blocks, verified: None }.start(body.pin);
            }
        }
    }

    /// Returns the error of a flaw of a member.
    fn refused(&self, body: StripedBody<'_>, member: usize, flaw: SliceFlaw) -> EngineError {
        match flaw {
            SliceFlaw::Damaged(what) => self.damaged(body, member, what),
            SliceFlaw::Device(error) => EngineError::read_failed(error),
        }
    }

    fn damaged(&self, body: StripedBody<'_>, member: usize, what: &'static str) -> EngineError {
        let slice = &self.planned.slice;
        let extent = slice.copy(body.pin.drives(), member).map_or(slice.at.extent(), |copy| copy.extent);
        EngineError::Damaged { what, extent, offset: slice.place.offset }
    }
}

/// Returns the slice that has a byte of the body, and where it is in the slice's payload.
fn slice_at(body: StripedBody<'_>, offset: u64) -> (StripedSlice, usize) {
    let core = &body.pin.core;
    let geometry = core.layout.geometry_of(0);
    let shape = geometry.shape;
    let (segment, place, within) = shape.slice_at(body.segments, offset);
    let slice = StripedSlice {
        shape,
        owner: (geometry.format_id, body.pin.shard),
        place,
        at: body.sets.of(place.extent),
        generation: segment.generation,
        planted: geometry.planted,
    };
    (slice, within)
}

/// Returns the byte of a slice's payload at which the rows end that end at a byte of the chunks.
fn payload_end(slice: &StripedSlice, end: usize) -> usize {
    let payload = slice.place.length as usize;
    (end.div_ceil(CRC_BLOCK_BYTES) * slice.shape.row_bytes()).min(payload)
}

fn codec_of(body: StripedBody<'_>) -> &ReedSolomon {
    body.pin.core.codec()
}
