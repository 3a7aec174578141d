//! Reading members of a slice of a striped set, and what is lost from what is left.

use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll};

use super::{GroupBuffers, StripedSlice};
use crate::device::pace::Patience;
use crate::device::{DeviceError, IoFuture};
use crate::extent::{Drives, SetCopy};
use crate::format::BLOCK_BYTES;
use crate::format::slice::{CRC_BLOCK_BYTES, ChunkCrcs, SliceHeaderOnDisk};
use crate::hook::Bug;
use crate::ring::{Buffer, Pool};
use crate::shard::slice_verifier::SliceFlaw;
use crate::stripe::{Codec, ReedSolomon};

/// The headers of a slice's members, as far as they were read and verified.
#[derive(Default)]
pub struct Headers {
    known: Vec<Option<Box<SliceHeaderOnDisk>>>,
    /// The members whose headers a read was started for.
    asked: Vec<usize>,
    /// The members whose headers were found to be bad.
    pub bad: Vec<usize>,
}

impl Headers {
    pub fn of(slice: &StripedSlice) -> RefCell<Self> {
        let known = (0..slice.shape.members()).map(|_| None).collect();
        RefCell::new(Self { known, asked: Vec::new(), bad: Vec::new() })
    }

    /// Returns the header of a member that was verified.
    pub fn known(&self, member: usize) -> Option<&SliceHeaderOnDisk> {
        self.known[member].as_deref()
    }

    /// Returns the header of a parity member that was verified, which knows the checksums of all data members.
    pub fn of_parity(&self, slice: &StripedSlice) -> Option<&SliceHeaderOnDisk> {
        self.known[slice.shape.data()..].iter().flatten().next().map(Box::as_ref)
    }

    /// Forgets that headers were asked for which are not known.
    pub fn ask_again(&mut self) {
        self.asked.retain(|member| self.known[*member].is_some());
    }
}

/// What is wrong with what a member has of a group.
#[derive(Debug)]
pub struct MemberFlaw {
    pub member: usize,
    /// The member's header is damaged, and nothing is known of its piece.
    pub of_header: bool,
    pub flaw: SliceFlaw,
}

/// Returns the members to read for the pieces of the data members `wanted`: these, or as many others as are needed to
/// make them. `bad` ones are left out. Those on slow drives are read if others are not enough, and those that are
/// brought up to date are the last choice. Returns `None` when too few are left.
pub fn choose_members(
    slice: &StripedSlice,
    drives: &Drives,
    wanted: Range<usize>,
    bad: &[usize],
) -> Option<Vec<usize>> {
    let rank_of = |member: usize| {
        let copy = drives.member(slice.at, member).filter(|_| !bad.contains(&member))?;
        Some(match (copy.drive.is_whole(), copy.drive.is_passed_over()) {
            (true, false) => Rank::Fast,
            (true, true) => Rank::Slow,
            (false, _) => Rank::Last,
        })
    };
    let ranks: Vec<Option<Rank>> = (0..slice.shape.members()).map(rank_of).collect();
    let is = |member: usize, rank: Rank| ranks[member] == Some(rank);
    if wanted.clone().all(|member| is(member, Rank::Fast)) {
        return Some(wanted.collect());
    }
    let is_asked_again =
        |member: usize| drives.member(slice.at, member).is_some_and(|copy| copy.drive.is_asked_again());
    let are_whole = |member| is(member, Rank::Fast) || is(member, Rank::Slow);
    if wanted.clone().all(are_whole) && wanted.clone().any(is_asked_again) {
        return Some(wanted.collect());
    }
    let data = slice.shape.data();
    let of = |rank: Rank| (0..ranks.len()).filter(move |member| is(*member, rank));
    if wanted.clone().all(are_whole) && of(Rank::Fast).count() < data {
        return Some(wanted.collect());
    }
    let chosen: Vec<usize> = of(Rank::Fast).chain(of(Rank::Slow)).chain(of(Rank::Last)).take(data).collect();
    (chosen.len() == data).then_some(chosen)
}

/// How willingly a member is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Fast,
    Slow,
    /// Its drive is brought up to date.
    Last,
}

/// The reads of a group that are on their way.
pub struct GroupReads {
    /// Byte offset of the pieces in the chunks.
    start: usize,
    /// Bytes of each piece.
    length: usize,
    reads: Vec<MemberRead>,
    /// For what is made from what was read.
    spare: Vec<Buffer>,
}

struct MemberRead {
    member: usize,
    data: Option<IoFuture>,
    header: Option<IoFuture>,
    /// What came, until it is verified.
    came: Option<(Result<(), DeviceError>, Buffer)>,
    piece: Option<Buffer>,
    flaw: Option<(bool, SliceFlaw)>,
    /// Its header is not known, and nobody reads it: whoever did gave it up.
    lacks_header: bool,
}

/// How the reads of a group ended.
pub enum Ended {
    /// Enough is verified, or something is wrong.
    All(Vec<MemberFlaw>),
    /// Some are late.
    Late,
}

impl GroupReads {
    /// Returns the buffers for the pieces of members, for their headers if these are not known, and for `made` pieces
    /// that are made from them.
    pub fn buffers(headers: &Headers, members: &[usize], made: usize, length: usize) -> GroupBuffers {
        let lacking = members.iter().filter(|member| !headers.asked.contains(member)).count();
        let for_headers = (lacking * BLOCK_BYTES).div_ceil(Pool::capacity_for(length));
        GroupBuffers::new(members.len() + made + for_headers, length, true)
    }

    /// Starts to read the pieces of members, and their headers if these are not known, into the buffers that
    /// [`Self::buffers`] says. Those that are left are for what is made.
    ///
    /// # Panics
    /// Panics when there are too few buffers.
    pub fn start(
        slice: &StripedSlice,
        drives: &Drives,
        headers: &mut Headers,
        members: &[usize],
        (start, length): (usize, usize),
        pieces: Vec<Buffer>,
    ) -> Self {
        let mut reads = Self { start, length, reads: Vec::new(), spare: Vec::new() };
        reads.add(slice, drives, headers, members, pieces);
        reads
    }

    /// Starts to read further members, like [`Self::start`].
    ///
    /// # Panics
    /// Panics when there are too few buffers.
    pub fn add(
        &mut self,
        slice: &StripedSlice,
        drives: &Drives,
        headers: &mut Headers,
        members: &[usize],
        mut pieces: Vec<Buffer>,
    ) {
        let lacking: Vec<usize> =
            members.iter().copied().filter(|member| !headers.asked.contains(member)).collect();
        headers.asked.extend(&lacking);
        let mut blocks: Vec<Buffer> = Vec::new();
        let mut take = || pieces.pop().unwrap_or_else(|| panic!("a piece for each member"));
        while blocks.len() < lacking.len() {
            blocks.extend(take().divide(BLOCK_BYTES));
        }
        for member in members.iter().copied() {
            let (piece, mut read) = (take(), MemberRead::of(member));
            match drives.member(slice.at, member) {
                Some(copy) => {
                    let block = if lacking.contains(&member) { blocks.pop() } else { None };
                    read.header = block.map(|block| copy.read(slice.place.offset, BLOCK_BYTES, block));
                    let offset = slice.place.offset + (BLOCK_BYTES + self.start) as u32;
                    read.data = Some(copy.read(offset, self.length, piece));
                }
                None => read.flaw = Some((true, SliceFlaw::Device(has_left()))),
            }
            self.reads.push(read);
        }
        self.spare.extend(pieces);
    }

    /// Waits until all is read, and verifies it. Returns what is wrong. A caller may give up and call again.
    pub async fn finish(&mut self, slice: &StripedSlice, headers: &RefCell<Headers>) -> Vec<MemberFlaw> {
        let Ended::All(mut flaws) = self.finish_enough(slice, headers, None, None).await else {
            panic!("nobody is impatient")
        };
        let lacking = self.reads.iter().filter(|read| read.lacks_header);
        flaws.extend(lacking.map(|read| MemberFlaw {
            member: read.member,
            of_header: true,
            flaw: SliceFlaw::Damaged("slice header"),
        }));
        flaws
    }

    /// Waits until all is read, but no longer than until the members are verified that are wanted, or so many that
    /// these can be made, if that is `enough`, or until the patience is over.
    pub async fn finish_enough(
        &mut self,
        slice: &StripedSlice,
        headers: &RefCell<Headers>,
        enough: Option<(&Range<usize>, usize)>,
        patience: Option<&Patience>,
    ) -> Ended {
        let within = (self.start, self.length);
        poll_fn(|context| {
            self.reads.iter_mut().for_each(|read| read.poll(context, slice, headers, within));
            let are_enough = |(wanted, count): (&Range<usize>, usize)| self.are_enough(wanted, count);
            if enough.is_some_and(are_enough) || self.reads.iter().all(MemberRead::is_over) {
                let flawed = self.reads.iter_mut().filter_map(|read| {
                    let (of_header, flaw) = read.flaw.take()?;
                    Some(MemberFlaw { member: read.member, of_header, flaw })
                });
                return Poll::Ready(Ended::All(flawed.collect()));
            }
            match patience.is_some_and(|patience| patience.is_over(context)) {
                true => Poll::Ready(Ended::Late),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Returns the members that are still waited for.
    pub fn late(&self) -> Vec<usize> {
        self.reads.iter().filter(|read| !read.is_over()).map(|read| read.member).collect()
    }

    /// Returns the members that are read, or were.
    pub fn members(&self) -> Vec<usize> {
        self.reads.iter().map(|read| read.member).collect()
    }

    /// Returns the members that are verified.
    pub fn verified(&self) -> Vec<usize> {
        self.reads.iter().filter(|read| read.piece.is_some()).map(|read| read.member).collect()
    }

    /// Returns whether the members that are wanted are verified, or so many that these can be made, which is `enough`.
    pub fn are_enough(&self, wanted: &Range<usize>, enough: usize) -> bool {
        let verified = self.verified();
        verified.len() >= enough || wanted.clone().all(|member| verified.contains(&member))
    }

    /// Keeps the members that are verified: those that are `wanted`, and so many others that there are `enough` if
    /// some of the wanted ones are not among them. Returns what is still on its way.
    pub fn keep_enough(&mut self, wanted: &Range<usize>, enough: usize) -> Vec<IoFuture> {
        let mut late = Vec::new();
        for mut read in std::mem::take(&mut self.reads) {
            if read.piece.is_some() {
                self.reads.push(read);
                continue;
            }
            late.extend(read.header.take().into_iter().chain(read.data.take()));
        }
        let is_wanted = |read: &MemberRead| wanted.contains(&read.member);
        self.reads.sort_by_key(|read| (!is_wanted(read), read.member));
        let has_all = self.reads.iter().filter(|read| is_wanted(read)).count() == wanted.len();
        self.reads.truncate(if has_all { wanted.len() } else { enough });
        late
    }

    /// Returns whether a member is read.
    pub fn has(&self, member: usize) -> bool {
        self.reads.iter().any(|read| read.member == member)
    }

    /// Returns the pieces of the data members `wanted`, which were all read without a flaw or are made from those
    /// that were.
    ///
    /// # Errors
    /// Returns that the slice is damaged when what is made is not what the parity's header says.
    ///
    /// # Panics
    /// Panics when a member that was read was flawed, or there are too few of them or of buffers.
    pub fn pieces(
        mut self,
        slice: &StripedSlice,
        codec: &ReedSolomon,
        headers: &RefCell<Headers>,
        wanted: Range<usize>,
    ) -> Result<Vec<Buffer>, SliceFlaw> {
        let mut spare = std::mem::take(&mut self.spare);
        let lost: Vec<usize> = wanted.clone().filter(|member| !self.has(*member)).collect();
        assert!(spare.len() >= lost.len(), "a buffer for each piece that is made");
        spare.truncate(lost.len());
        if !lost.is_empty() {
            self.make(slice, codec, (&lost, &mut spare), headers)?;
        }
        let mut made = spare.into_iter();
        let piece = |member: usize| {
            let read = self.reads.iter_mut().find(|read| read.member == member);
            read.map_or_else(|| made.next(), |read| read.piece.take())
        };
        Ok(wanted.filter_map(piece).collect())
    }

    /// Makes the pieces of data members that were not read, and verifies them.
    fn make(
        &self,
        slice: &StripedSlice,
        codec: &ReedSolomon,
        (lost, made): (&[usize], &mut [Buffer]),
        headers: &RefCell<Headers>,
    ) -> Result<(), SliceFlaw> {
        let left: Vec<usize> = self.reads.iter().map(|read| read.member).collect();
        let recovery = codec.recovery(&left, lost);
        let recovery = recovery.unwrap_or_else(|error| panic!("{left:?} are enough for {lost:?}: {error:?}"));
        let inputs: Vec<&[u8]> =
            self.reads.iter().flat_map(|read| &read.piece).map(|piece| &piece[..self.length]).collect();
        let mut outputs: Vec<&mut [u8]> = made.iter_mut().map(|piece| &mut piece[..self.length]).collect();
        recovery.apply(&inputs, &mut outputs);
        let headers = headers.borrow();
        let Some(parity) = headers.of_parity(slice) else { panic!("one that was read is a parity member") };
        for (member, piece) in lost.iter().zip(made) {
            let mut blocks = piece[..self.length].chunks(CRC_BLOCK_BYTES).enumerate();
            let is_it = |(at, block): (usize, &[u8])| {
                crc32c::crc32c(block) == parity.data_crc(*member, self.start + at * CRC_BLOCK_BYTES)
            };
            if !slice.planted.is(Bug::IgnoreCrc) && !blocks.all(is_it) {
                return Err(SliceFlaw::Damaged("slice data that was made from parity"));
            }
        }
        Ok(())
    }
}

impl MemberRead {
    fn of(member: usize) -> Self {
        let (data, header, came, piece, flaw) = (None, None, None, None, None);
        Self { member, data, header, came, piece, flaw, lacks_header: false }
    }

    /// Returns whether nothing is waited for any more.
    fn is_over(&self) -> bool {
        self.data.is_none() && self.header.is_none() && self.came.is_none()
    }

    /// Goes on as far as it can at once.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        slice: &StripedSlice,
        headers: &RefCell<Headers>,
        (start, length): (usize, usize),
    ) {
        if let Some(header) = &mut self.header
            && let Poll::Ready((result, block)) = header.as_mut().poll(context)
        {
            self.header = None;
            match result.map_err(SliceFlaw::Device).and_then(|()| slice.header_of(self.member, &block)) {
                Ok(header) => headers.borrow_mut().known[self.member] = Some(header),
                Err(flaw) => self.flaw = Some((true, flaw)),
            }
        }
        if let Some(data) = &mut self.data
            && let Poll::Ready(came) = data.as_mut().poll(context)
        {
            (self.data, self.came) = (None, Some(came));
        }
        if self.header.is_some() {
            return;
        }
        let Some((result, piece)) = self.came.take() else { return };
        if self.flaw.is_some() {
            return;
        }
        if let Err(error) = result {
            self.flaw = Some((false, SliceFlaw::Device(error)));
            return;
        }
        match headers.borrow().known(self.member) {
            None => self.lacks_header = true,
            Some(header) if slice.planted.is(Bug::IgnoreCrc) || header.verifies(start, &piece[..length]) => {
                self.piece = Some(piece);
            }
            Some(_) => self.flaw = Some((false, SliceFlaw::Damaged("slice data"))),
        }
    }
}

impl StripedSlice {
    /// Returns the header in a block that was read for a member.
    fn header_of(&self, member: usize, block: &[u8]) -> Result<Box<SliceHeaderOnDisk>, SliceFlaw> {
        let header = SliceHeaderOnDisk::parse(block).map_err(|_| SliceFlaw::Damaged("slice header"))?;
        let life = (self.at.birth, self.generation);
        let is_old = self.planted.is(Bug::OldParity) && member >= self.shape.data();
        match is_old || self.place.is_headed_by(&header, self.owner, life, self.membership(member)) {
            true => Ok(Box::new(header)),
            false => Err(SliceFlaw::Damaged("slice identity")),
        }
    }

    /// Returns the member that lies on the drive at a place, if the set has one there.
    pub fn member_on(&self, drives: &Drives, at: usize) -> Option<usize> {
        let number = drives.get(at).number.get()?;
        self.at.members.iter().position(|member| member.drive == number)
    }

    /// Returns the bytes of a member's piece, given those of all data members.
    pub fn piece_of(&self, codec: &ReedSolomon, member: usize, data: &[Buffer], length: usize) -> Vec<u8> {
        if member < self.shape.data() {
            return data[member][..length].to_vec();
        }
        let all: Vec<usize> = (0..self.shape.data()).collect();
        let encoding = codec.recovery(&all, &[member]);
        let encoding = encoding.unwrap_or_else(|error| panic!("parity {member} of {all:?}: {error:?}"));
        let mut piece = vec![0; length];
        let inputs: Vec<&[u8]> = data.iter().map(|piece| &piece[..length]).collect();
        encoding.apply(&inputs, &mut [&mut piece]);
        piece
    }

    /// Returns the header of a member whose chunk has these checksums. Of a parity member's it takes those of the
    /// data members from headers that were read.
    ///
    /// # Panics
    /// Panics when these are not known: neither that of another parity member, nor those of all data members.
    pub fn header(&self, member: usize, own: &[u32], headers: &Headers) -> SliceHeaderOnDisk {
        let data_of = |of: usize| -> Vec<u32> {
            let crc = |at: usize| match (headers.known(of), headers.of_parity(self)) {
                (Some(header), _) => header.own_crc(at),
                (None, Some(parity)) => parity.data_crc(of, at),
                (None, None) => panic!("the checksums of member {of} are not known"),
            };
            (0..self.chunk_bytes()).step_by(CRC_BLOCK_BYTES).map(crc).collect()
        };
        let is_data = member < self.shape.data();
        let data: Vec<Vec<u32>> =
            if is_data { Vec::new() } else { (0..self.shape.data()).map(data_of).collect() };
        self.header_with(member, ChunkCrcs { own, data: &data })
    }

    /// Returns where a member lies.
    pub fn copy<'a>(&self, drives: &'a Drives, member: usize) -> Option<SetCopy<'a>> {
        drives.member(self.at, member)
    }
}

fn has_left() -> DeviceError {
    let reason = "the drive is out of the view".to_owned();
    DeviceError { operation: "read", offset: 0, length: 0, reason }
}
