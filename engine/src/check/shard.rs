//! The check of one shard: it is recovered as a server does it, and then read. If objects claim the
//! same space, this is repeated without the damaged ones until nothing more is damaged.

use std::cell::RefCell;
use std::collections::HashSet;

use super::{CheckError, Finding, Kind, Medium, ObjectName, Outcome, Progress, Remedy, Run, Set};
use crate::format::BLOCK_BYTES;
use crate::format::batch::BatchHeaderOnDisk;
use crate::log::replay::ReplayError;
use crate::shard::{
    ChunkCopies, Flaw, Flaws, Owner, Reading, RecoverError, Recovered, Salvage, Source, State,
};
use crate::types::BucketId;

/// The shard that owns an extent, and the use of the extent.
pub(super) type Owned = Option<(u16, &'static str)>;

impl Run<'_> {
    /// Checks one shard. `owners` has the owner of each extent of each drive, and gets this shard's.
    ///
    /// # Errors
    /// Returns an error when the device fails. Damage is reported as findings.
    pub(super) async fn shard(
        &mut self,
        set: &Set,
        shard: u16,
        deep: bool,
        owners: &mut [Vec<Owned>],
    ) -> Result<(), CheckError> {
        let medium = &set.media[usize::from(set.layout.first_home_of(shard))];
        self.watcher.progress(&self.progress(set, shard, 0.0));
        let (roots, drives) = (set.layout.roots_of(shard), set.homes(shard));
        let (geometry, settings) = set.layout.of_shard(shard);
        let mut left_out = Salvage::default();
        let mut overlaps = HashSet::new();
        loop {
            let source = Source {
                shard,
                geometry: &geometry,
                settings: &settings,
                drives: &drives,
                pool: &set.pool,
                salvage: Some(&left_out),
                told: None,
                makes_alike: false,
                copies: ChunkCopies::All,
                noticed: RefCell::default(),
            };
            let recovered = match source.recover(&roots).await {
                Ok(recovered) => recovered,
                Err(RecoverError::Device(error)) => return Err(error.into()),
                Err(error) => {
                    self.lost_shard(medium, shard, &error);
                    return Ok(());
                }
            };
            if shard == 0 {
                let buckets = recovered.state.buckets.values();
                self.names = buckets.map(|bucket| (bucket.id, bucket.name.clone())).collect();
            }
            let noticed = source.noticed.take();
            let is_first = left_out.objects.is_empty() && left_out.uploads.is_empty();
            for error in left_out.found.take() {
                let new_overlap = match &error {
                    RecoverError::Overlap { bucket, key, .. } => overlaps.insert((*bucket, key.clone())),
                    _ => false,
                };
                if is_first || new_overlap {
                    let finding = self.of_recovery(medium, &error);
                    self.report(Finding { shard: Some(shard), ..finding });
                }
            }
            for error in noticed.iter().filter(|_| is_first) {
                let text = format!("another copy is whole, but {}", text_of(error));
                let finding = Finding::new(medium, Kind::Copy, Remedy::None, text);
                self.report(Finding { shard: Some(shard), ..finding });
            }
            let flaws = self.read(set, &source, &recovered, deep).await?;
            // When damaged objects are left out, others own the space that these claimed, and must
            // still be read.
            let is_last = flaws.is_empty() || overlaps.is_empty();
            if is_last {
                self.tail(&source, medium, &recovered).await?;
                self.claim(set, &source, &recovered, owners);
            }
            flaws.into_iter().for_each(|owner| left_out.leave_out(owner));
            if is_last {
                break;
            }
        }
        self.outcome.salvage.insert(shard, left_out);
        Ok(())
    }

    /// Reads what the shard holds, and returns what a repair has to leave out of it.
    async fn read(
        &mut self,
        set: &Set,
        source: &Source<'_>,
        recovered: &Recovered,
        deep: bool,
    ) -> Result<Vec<Owner>, CheckError> {
        let shard = source.shard;
        let mut last = -1.0;
        let (shown, watcher) = (self.progress(set, shard, 0.0), &mut self.watcher);
        let mut progress = |reading: Reading| {
            let share = reading.done_bytes as f64 / reading.total_bytes.max(1) as f64;
            // Progress is not reported for every block, because showing it would take too long.
            if share - last >= 0.001 {
                last = share;
                let share = shown.share + share / f64::from(shown.shards);
                watcher.progress(&Progress { share, ..shown });
            }
        };
        let medium_of = |home: usize| &set.media[usize::from(set.layout.drives_of(shard)[home])];
        let flaws = match source.verify(&recovered.state, deep, &mut progress).await {
            Ok(flaws) => flaws,
            Err(RecoverError::Device(error)) => return Err(error.into()),
            Err(error) => {
                let finding = self.of_recovery(medium_of(0), &error);
                self.report(Finding { shard: Some(shard), ..finding });
                Flaws::default()
            }
        };
        for flaw in &flaws.lost {
            self.flaw(medium_of(flaw.home), source, &recovered.state, flaw);
        }
        for flaw in &flaws.mendable {
            let text = format!("a copy of {} is damaged, another one is whole", flaw.what);
            let finding = Finding::new(medium_of(flaw.home), Kind::Copy, Remedy::None, text);
            let finding = finding.at(flaw.extent, flaw.offset);
            self.report(Finding { shard: Some(shard), ..finding });
        }
        Ok(flaws.lost.into_iter().map(|flaw| flaw.owner).collect())
    }

    fn progress(&self, set: &Set, shard: u16, share: f64) -> Progress {
        let shards = set.layout.shards;
        let place = |shard: u16| (set.layout.first_home_of(shard), shard);
        let before = (0..shards).filter(|other| place(*other) < place(shard)).count();
        let share = (before as f64 + share) / f64::from(shards);
        Progress { shard, shards, share }
    }

    fn lost_shard(&mut self, medium: &Medium, shard: u16, error: &RecoverError) {
        let finding = Finding::new(medium, Kind::ShardRoot, Remedy::Beyond, text_of(error));
        self.report(Finding { shard: Some(shard), ..finding });
    }

    /// Makes the finding for damage that recovery passed over.
    fn of_recovery(&self, medium: &Medium, error: &RecoverError) -> Finding {
        let finding = |kind| Finding::new(medium, kind, Remedy::Loss, text_of(error));
        match error {
            RecoverError::Chunk { extent, offset, .. } => finding(Kind::Checkpoint).at(*extent, *offset),
            RecoverError::Leaf(_) => finding(Kind::Checkpoint),
            RecoverError::Replay(ReplayError::Damaged { extent, offset, .. }) => {
                finding(Kind::Log).at(*extent, *offset)
            }
            RecoverError::Replay(ReplayError::Record { extent, .. }) => finding(Kind::Log).at(*extent, 0),
            RecoverError::Replay(ReplayError::LostBatches { extent, .. }) => {
                finding(Kind::LostBatches).at(*extent, 0)
            }
            RecoverError::Replay(ReplayError::LostRecord { extent, offset, object }) => {
                let object = object.as_ref().map(|(bucket, key)| self.named(*bucket, key));
                finding(Kind::LostRecord).at(*extent, *offset).of(object)
            }
            RecoverError::Overlap { extent, bucket, key } => {
                finding(Kind::SharedSpace).at(*extent, 0).of(Some(self.named(*bucket, key)))
            }
            RecoverError::NoSet { bucket, key, .. } => {
                finding(Kind::Owner).of(Some(self.named(*bucket, key)))
            }
            RecoverError::Log { .. } => finding(Kind::Log),
            RecoverError::Set { .. } => finding(Kind::Checkpoint),
            RecoverError::NoRoot(_)
            | RecoverError::Memory { .. }
            | RecoverError::Device(_)
            | RecoverError::Replay(ReplayError::Device(_)) => finding(Kind::ShardRoot),
        }
    }

    fn flaw(&mut self, medium: &Medium, source: &Source<'_>, state: &State, flaw: &Flaw) {
        let (kind, what) =
            (if flaw.what.starts_with("slice") { Kind::Slice } else { Kind::Record }, flaw.what);
        let (object, text) = match &flaw.owner {
            Owner::Object { bucket, key, generation } => {
                let version = state.version(BucketId(*bucket), key, *generation);
                let of = if version.as_ref().is_some_and(|version| version.is_marker) {
                    "a delete marker"
                } else {
                    "an object"
                };
                let version_id = version.map(|version| match version.is_null {
                    true => "null".to_owned(),
                    false => source.settings.version_id(BucketId(*bucket), key, *generation).to_string(),
                });
                let object = ObjectName { version_id, ..self.named(*bucket, key) };
                (object, format!("{what} of {of} is damaged"))
            }
            Owner::Upload((bucket, key, id)) => {
                let text = format!("{what} of a part of the unfinished upload {id:032x} is damaged");
                (self.named(*bucket, key), text)
            }
        };
        let finding = Finding::new(medium, kind, Remedy::Loss, text).at(flaw.extent, flaw.offset);
        self.report(Finding { shard: Some(source.shard), ..finding.of(Some(object)) });
    }

    /// Reports a batch that was being written when the log ended.
    async fn tail(
        &mut self,
        source: &Source<'_>,
        medium: &Medium,
        recovered: &Recovered,
    ) -> Result<(), CheckError> {
        let position = recovered.position;
        if position.offset >= source.geometry.extent_bytes {
            return Ok(());
        }
        let buffer =
            source.drives.copy(position.set, 0).read_step(source.pool, position.offset, BLOCK_BYTES).await?;
        let torn = |header: &BatchHeaderOnDisk| {
            header.is_of(source.geometry.format_id, source.shard)
                && (header.sequence.get(), header.log_number.get())
                    == (position.sequence, position.log_number)
        };
        if BatchHeaderOnDisk::peek(&buffer).as_ref().is_some_and(torn) {
            let text = format!("batch {} was being written", position.sequence);
            let finding = Finding::new(medium, Kind::TornTail, Remedy::None, text);
            let finding = finding.at(position.set.extent(), position.offset);
            self.report(Finding { shard: Some(source.shard), ..finding });
        }
        Ok(())
    }

    /// Checks that every extent has at most one owner and that the shard's sums add up, and adds
    /// the sums to the totals.
    fn claim(&mut self, set: &Set, source: &Source<'_>, recovered: &Recovered, owners: &mut [Vec<Owned>]) {
        let shard = source.shard;
        let medium = &set.media[usize::from(set.layout.first_home_of(shard))];
        let census = recovered.state.census(source.geometry.extent_bytes);
        let owned = census.sets.iter().flat_map(|(place, what)| {
            place.members.iter().map(|member| (member.drive, member.extent, *what))
        });
        let mut copies = 0;
        for (drive, extent, what) in owned {
            // What lies on a drive that is not here is not known.
            let Some(drive) = set.layout.place_of(drive) else { continue };
            copies += 1;
            let medium = &set.media[usize::from(drive)];
            let taken = match owners[usize::from(drive)].get_mut(extent as usize) {
                Some(slot) => {
                    slot.replace((shard, what)).map(|(other, use_)| format!("{use_} of shard {other}"))
                }
                None => Some("not on the drive".to_owned()),
            };
            if let Some(taken) = taken {
                let text = format!("extent {extent} is {what} of shard {shard}, and {taken}");
                let finding = Finding::new(medium, Kind::Owner, Remedy::Beyond, text).at(extent, 0);
                self.report(Finding { shard: Some(shard), ..finding });
            }
        }
        for (extent, live, written) in census.overfull {
            let text = format!("extent {extent} of the log has {live} live bytes of {written} written");
            let finding = Finding::new(medium, Kind::Accounting, Remedy::Beyond, text).at(extent, 0);
            self.report(Finding { shard: Some(shard), ..finding });
        }
        let Outcome { totals, .. } = &mut self.outcome;
        let usage = recovered.state.usage_of_all();
        totals.objects += usage.keys;
        totals.versions += usage.versions;
        totals.delete_markers += usage.markers;
        totals.uploads += recovered.state.uploads.len() as u64;
        totals.live_bytes += census.live_bytes;
        totals.dead_bytes += census.dead_bytes;
        totals.reserved_bytes += census.owned_bytes - census.live_bytes - census.dead_bytes;
        let members_bytes = copies * u64::from(source.geometry.extent_bytes);
        totals.copies_bytes += members_bytes.saturating_sub(census.owned_bytes);
        // Changes since the checkpoint began would be in the log.
        let found = recovered.state.objects();
        if let Some(counted) = recovered.counted.filter(|count| *count != found && recovered.replayed == 0) {
            let text = format!(
                "the checkpoint counts {counted} versions and delete markers, its leaves hold {found}"
            );
            let finding = Finding::new(medium, Kind::Accounting, Remedy::Loss, text);
            self.report(Finding { shard: Some(shard), ..finding });
        }
    }
}

/// Returns the error's text without the advice, which findings give separately.
fn text_of(error: &RecoverError) -> String {
    let text = error.to_string();
    text.split("; run `ringbolt check`").next().unwrap_or(&text).to_owned()
}
