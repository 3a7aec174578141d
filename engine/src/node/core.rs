//! The engine's operations, as one thread calls them.
//!
//! Invariant: every operation is sent to the owner of its key. Nothing here touches a shard of
//! another core.

use std::rc::Rc;

use super::barrier::Phase;
use super::catch_up;
use super::empty;
use super::error::OpenError;
use super::layout::SYSTEM_SHARD;
use super::open_shard::{begin_writing, open_shard};
use super::read::{ObjectReader, Opened};
use super::report::{Counters, SpaceReport};
use super::scrub::{self, ScrubOptions};
use super::state::CoreState;
use super::write::{ObjectWriter, Target, growing_bytes_max, write_table};
use crate::error::{EngineError, Result};
use crate::extent::allocator::ExtentAllocator;
use crate::format::parts::PARTS_IN_RECORD_MAX;
use crate::hook::Bug;
use crate::index::{ListMerge, ListRequest, Listable};
use crate::ring::driver::Driver;
use crate::shard::{CompleteCommit, ShardReply, ShardRequest, versioning_value};
use crate::types::{
    Attributes, Bucket, BucketCreated, BucketId, BucketLock, BucketUsage, ConfigKind, Deleted, Deletion,
    Etag, ListItem, ListPage, ListQuery, MetadataChange, ObjectInfo, ObjectMeta, Page, Quota, UploadId,
    UploadInfo, UploadItem, UploadPage, UploadQuery, Version, VersionId, VersionItem, VersionPlace,
    Versioning, VersionsPage, VersionsQuery, WriteCondition,
};

/// Longest key, bytes.
const KEY_BYTES_MAX: usize = 1024;
/// Largest total size of the attributes of one object, names and values together, bytes.
const ATTRIBUTES_BYTES_MAX: usize = 32 << 10;
/// Uploads are checked this many times within the age limit, within the bounds below. An upload may
/// exceed the limit by the time between two checks.
const UPLOAD_AGE_CHECKS: u64 = 20;
const UPLOAD_PAUSE_MS_MIN: u64 = 1000;
const UPLOAD_PAUSE_MS_MAX: u64 = 60 * 60 * 1000;
/// The generation in the place where the first page of a listing of versions begins. No version has
/// it. The page begins where the query says.
const FIRST_PAGE: u64 = u64::MAX;
/// Key of the lock that is held while buckets change. The locks of objects are in other tables.
const BUCKET_LOCK: u64 = 0;

/// One core of an open node. It is cheap to clone and stays on its thread.
#[derive(Clone)]
pub struct Core {
    state: Rc<CoreState>,
    driver: Option<Driver>,
}

impl Core {
    pub(super) fn new(state: Rc<CoreState>, driver: Option<Driver>) -> Self {
        Self { state, driver }
    }

    /// Makes a core of a simulated node. Whoever made its parts drives them.
    pub(crate) fn simulated(state: Rc<CoreState>) -> Self {
        Self::new(state, None)
    }

    /// Returns the driver of the core's ring, which the owner of the thread must run.
    pub fn driver(&self) -> Driver {
        self.driver.clone().unwrap_or_else(|| panic!("a simulated core has no ring"))
    }

    /// Recovers this core's shards and waits until the whole node is open.
    ///
    /// # Errors
    /// Returns an error when a shard of this or another core does not open.
    pub async fn open(&self) -> std::result::Result<(), OpenError> {
        let opened = self.open_shards().await;
        let good = opened.is_ok();
        let all = self.pass(Phase::Open, good).await;
        opened?;
        if !all {
            return Err(OpenError::Elsewhere);
        }
        if self.state.layout.is_redundant() {
            self.enter_view().await?;
        }
        begin_writing(&self.state);
        let owner = self.state.layout.core_of(SYSTEM_SHARD);
        let last = self.state.shards.borrow().values().map(|shard| shard.last_bucket()).max().unwrap_or(0);
        let tell_and_ask = move |core: Rc<CoreState>| async move {
            let system = core.shard(SYSTEM_SHARD);
            system.pass_bucket(last);
            system.all_buckets()
        };
        let buckets = self.state.call(owner, tell_and_ask).await;
        buckets.iter().for_each(|bucket| self.state.buckets.borrow_mut().add(bucket.clone()));
        if buckets.iter().any(|bucket| bucket.lock.is_some()) {
            self.state.own_shards().iter().for_each(|shard| shard.miss_time());
        }
        let counted = self.state.open_ledgers(&buckets).await;
        // The owner of a key also checks its bucket, so a core that is ahead must not get the
        // answer that the bucket does not exist.
        let ready = self.pass(Phase::Ready, counted.is_ok()).await;
        if ready && self.state.index == 0 {
            catch_up::start(&self.state);
            empty::start(&self.state);
        }
        if ready { Ok(()) } else { Err(OpenError::Elsewhere) }
    }

    /// Writes the view of this life to this core's drives, and waits until every drive has it. Nothing was
    /// written before but what makes the homes of a shard alike.
    async fn enter_view(&self) -> std::result::Result<(), OpenError> {
        let start = &self.state.layout.start;
        let mut entered = Ok(());
        for (drive, allocator) in self.allocators_in_view() {
            let written = allocator.enter_view(start.view, start.bases).await;
            entered = entered.and(written.map_err(|error| OpenError::Device { drive, error }));
        }
        let all = self.pass(Phase::Viewed, entered.is_ok()).await;
        entered?;
        if !all {
            return Err(OpenError::Elsewhere);
        }
        self.allocators_in_view().iter().for_each(|(_, allocator)| allocator.use_view(start.view.number()));
        // Every core says so, since none knows whether core 0 has come as far.
        self.state.call(0, |core| async move { core.views.begin() }).await;
        Ok(())
    }

    /// Returns the allocators on this core of the drives that are in the view that was found.
    fn allocators_in_view(&self) -> Vec<(u16, Rc<ExtentAllocator>)> {
        let all = self.state.own_allocators().into_iter();
        all.filter(|(drive, _)| !self.state.layout.was_out(*drive)).collect()
    }

    async fn open_shards(&self) -> std::result::Result<(), OpenError> {
        let begun = self.begin_epoch().await;
        if self.state.layout.is_redundant() {
            // Nothing is made alike before every drive has promised: a drive that had not could come back
            // with a start of its own.
            let all = self.pass(Phase::Promised, begun.is_ok()).await;
            begun?;
            if !all {
                return Err(OpenError::Elsewhere);
            }
        } else {
            begun?;
        }
        let state = &self.state;
        let shards: Vec<u16> = state.layout.shards_of_core(state.index).collect();
        let openings = shards.into_iter().map(|shard| open_shard(state, shard));
        futures_util::future::join_all(openings)
            .await
            .into_iter()
            .collect::<std::result::Result<(), OpenError>>()
    }

    /// Begins the life on this core's drives.
    async fn begin_epoch(&self) -> std::result::Result<(), OpenError> {
        let state = &self.state;
        for (drive, allocator) in self.allocators_in_view() {
            let without_promise = state.layout.geometry_of(drive).planted.is(Bug::StartWithoutPromise);
            let begun = match state.layout.is_redundant() {
                true if without_promise => allocator.promise(state.layout.epoch - 1).await,
                true => allocator.promise(state.layout.epoch).await,
                false => allocator.begin_epoch(state.layout.epoch).await,
            };
            if let Err(error) = begun {
                // None of this core's shards will claim extents, on whatever drive. Shards of other
                // cores may wait for that.
                for drive in 0..state.layout.drives() {
                    let give_up = move |core: &Rc<CoreState>| core.allocator(drive).give_up();
                    state.send(state.layout.allocator_core(drive), Box::new(give_up));
                }
                return Err(OpenError::Device { drive, error });
            }
        }
        Ok(())
    }

    /// Starts the scrub of this core's shards, which runs while the node is open. Called again, it gives
    /// the scrub other options.
    pub fn start_scrub(&self, options: ScrubOptions) {
        scrub::start(&self.state, options);
    }

    /// Sets the time in which this core has a drive brought up to date that comes back or is new, milliseconds. While
    /// less is done than has to be by then, this does not give way to clients. With 0 it always does.
    pub fn heal_within(&self, time_ms: u64) {
        self.state.heal_within_ms.set(time_ms);
    }

    async fn pass(&self, phase: Phase, good: bool) -> bool {
        let cores = self.state.layout.cores;
        self.state.call(0, move |core| async move { core.barrier.arrive(phase, good, cores).await }).await
    }

    /// Refuses new writes, waits until every core is being closed, and writes a checkpoint of this
    /// core's shards. Returns when all cores have done so; the driver must run until then. The
    /// caller ends its requests before: what still runs may be refused.
    ///
    /// # Errors
    /// Returns an error when a checkpoint fails. Nothing is lost then, because the next start
    /// replays the log.
    pub async fn close(&self) -> Result<()> {
        self.state.closing.set(true);
        self.pass(Phase::Quiet, true).await;
        let mut outcome = Ok(());
        for shard in self.state.own_shards() {
            scrub::save(&self.state, &shard).await;
            // If it fails, the next start knows an earlier time.
            let _ = shard.note_last_time().await;
            let done = match shard.barrier().await {
                Ok(()) => shard.checkpoint().await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = done {
                tracing::warn!(
                    shard = shard.id,
                    error,
                    "no checkpoint at the end; the next start reads the log instead"
                );
                outcome = Err(EngineError::WritesStopped { shard: shard.id });
            }
            // One that was wanted meanwhile would still run when the node is gone.
            shard.end_checkpoints().await;
            shard.log.stop();
        }
        // Nobody waits for the note that a view is in use, and an orderly end leaves no update half done.
        let allocators: Vec<_> = self.state.allocators.borrow().values().cloned().collect();
        for allocator in allocators {
            allocator.end_notes().await;
        }
        self.pass(Phase::Closed, outcome.is_ok()).await;
        outcome
    }

    /// Returns the number of this core.
    pub fn index(&self) -> usize {
        self.state.index
    }

    /// Returns the number of the node's cores.
    pub fn cores(&self) -> usize {
        self.state.layout.cores
    }

    /// Returns what this core has done.
    pub fn counters(&self) -> Counters {
        Counters::of(&self.state)
    }

    pub(super) fn state(&self) -> &Rc<CoreState> {
        &self.state
    }

    /// Returns the space of the whole node.
    ///
    /// # Errors
    /// Returns the error of a shard that does not answer. No shard fails to answer today.
    pub async fn space(&self) -> Result<SpaceReport> {
        let layout = self.state.layout.clone();
        let mut report = SpaceReport::default();
        let drives: Vec<u16> = self.state.places_in_view().collect();
        for drive in drives {
            let extent_bytes = u64::from(layout.geometry_of(drive).extent_bytes);
            let room = self.state.room_of(drive).await;
            report.physical_bytes += u64::from(room.extents) * extent_bytes;
            report.free_bytes += u64::from(room.free - room.held) * extent_bytes;
            report.held_bytes += u64::from(room.held) * extent_bytes;
        }
        for shard in 0..layout.shards {
            let space = match self.state.ask(shard, ShardRequest::Space).await? {
                ShardReply::Space(space) => space,
                other => other.mistaken(),
            };
            report.live_bytes += space.live_bytes;
            let striped: u64 = space.striped_by_losses.iter().sum();
            let copied = space.live_bytes.saturating_sub(striped);
            report.bytes_by_losses[self.state.whole_homes_of(shard).saturating_sub(1)] += copied;
            let by_losses = report.bytes_by_losses.iter_mut().zip(space.striped_by_losses);
            by_losses.for_each(|(sum, bytes)| *sum += bytes);
            report.dead_bytes += space.dead_bytes;
            report.reserved_bytes += space.reserved_bytes;
            report.free_bytes += space.free_bytes;
            report.copies_bytes += space.copies_bytes;
            // A shard's own free bytes are those between its slices.
            report.gap_bytes += space.free_bytes;
            report.objects += space.objects;
            report.index_bytes += space.index_bytes;
            report.runs = report.runs.plus(space.runs);
        }
        report.reserved_bytes += report.held_bytes;
        Ok(report)
    }

    /// Finds a bucket in this core's copy, without a message.
    pub fn bucket(&self, name: &str) -> Option<Rc<Bucket>> {
        self.state.buckets.borrow().get(name)
    }

    /// Returns all buckets, ascending by name.
    pub fn buckets(&self) -> Vec<Rc<Bucket>> {
        self.state.buckets.borrow().all()
    }

    /// Creates a bucket. Returns once it is durable and every core knows it.
    ///
    /// # Errors
    /// Returns an error when there is no space, the device fails, or the node is closing.
    pub async fn create_bucket(
        &self,
        name: &str,
        owner: &str,
        attributes: Attributes,
    ) -> Result<BucketCreated> {
        self.create_configured_bucket(name, owner, attributes, Vec::new()).await
    }

    /// Creates a bucket as [`Self::create_bucket`] does, with object lock and the versioning that it
    /// needs if it is `locked`, and with other configuration from the beginning.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::create_bucket`].
    pub async fn create_bucket_with(
        &self,
        name: &str,
        owner: &str,
        attributes: Attributes,
        locked: bool,
        mut config: Vec<(ConfigKind, Vec<u8>)>,
    ) -> Result<BucketCreated> {
        if locked {
            let versioning = versioning_value(Versioning::Enabled).unwrap_or_default();
            config.push((ConfigKind::VERSIONING, versioning));
            config.push((ConfigKind::LOCK, BucketLock::default().encode()));
        }
        self.create_configured_bucket(name, owner, attributes, config).await
    }

    async fn create_configured_bucket(
        &self,
        name: &str,
        owner: &str,
        attributes: Attributes,
        config: Vec<(ConfigKind, Vec<u8>)>,
    ) -> Result<BucketCreated> {
        self.refuse_if_closing()?;
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.on_system(move |core| async move {
            let system = core.shard(SYSTEM_SHARD);
            let _guard = core.bucket_locks.lock(BUCKET_LOCK).await;
            if config.iter().any(|(kind, _)| *kind == ConfigKind::LOCK) {
                core.begin_time().await?;
            }
            let created = system.create_bucket(&name, &owner, attributes, config).await?;
            if let BucketCreated::New(bucket) = &created {
                let bucket = bucket.clone();
                core.on_every_core(move |core| core.buckets.borrow_mut().add(bucket.clone())).await;
            }
            Ok(created)
        })
        .await
    }

    /// Sets one kind of a bucket's configuration, or removes it. Returns once that is durable and
    /// every core knows it.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`], or an error when there is no space, the device fails,
    /// or the node is closing.
    pub async fn set_bucket_config(
        &self,
        bucket: BucketId,
        kind: ConfigKind,
        value: Option<Vec<u8>>,
    ) -> Result<()> {
        self.refuse_if_closing()?;
        self.on_system(move |core| async move {
            let system = core.shard(SYSTEM_SHARD);
            let _guard = core.bucket_locks.lock(BUCKET_LOCK).await;
            if kind == ConfigKind::LOCK && value.is_some() {
                core.begin_time().await?;
            }
            if kind == ConfigKind::QUOTA {
                return core.set_quota(bucket, value).await;
            }
            let changed = system.configure_bucket(bucket, kind, value).await?;
            core.on_every_core(move |core| core.buckets.borrow_mut().update(changed.clone())).await;
            Ok(())
        })
        .await
    }

    /// Sets the state of a bucket's versioning. A bucket that has kept versions is never again
    /// [`Versioning::Off`].
    ///
    /// # Errors
    /// Returns the same errors as [`Self::set_bucket_config`].
    pub async fn set_versioning(&self, bucket: BucketId, versioning: Versioning) -> Result<()> {
        let Some(value) = versioning_value(versioning) else {
            let state = self.state.buckets.borrow().versioning(bucket).ok_or(EngineError::NoSuchBucket)?;
            assert_eq!(state, Versioning::Off, "a bucket that has kept versions still has them");
            return Ok(());
        };
        self.set_bucket_config(bucket, ConfigKind::VERSIONING, Some(value)).await
    }

    /// Sets what a bucket may hold at most, or removes the limit. Returns once that is durable and
    /// holds for every later put: none is stored that would bring the bucket above the quota. The
    /// quota may be less than the bucket holds. Uploads in progress do not count until they are
    /// completed.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::set_bucket_config`].
    pub async fn set_quota(&self, bucket: BucketId, quota: Option<Quota>) -> Result<()> {
        let quota = quota.filter(|quota| *quota != Quota::default());
        self.set_bucket_config(bucket, ConfigKind::QUOTA, quota.map(Quota::encode)).await
    }

    /// Removes an empty bucket together with its uploads in progress. A deletion that is refused
    /// was never visible.
    ///
    /// # Errors
    /// Returns [`EngineError::BucketNotEmpty`] when the bucket has objects, or
    /// [`EngineError::NoSuchBucket`].
    pub async fn delete_bucket(&self, bucket: BucketId) -> Result<()> {
        self.refuse_if_closing()?;
        self.on_system(move |core| async move {
            let _guard = core.bucket_locks.lock(BUCKET_LOCK).await;
            core.delete_bucket(bucket).await
        })
        .await
    }

    /// Runs `work` as a task of the system shard's core, so that a caller that is dropped does not
    /// leave a change half announced.
    pub(super) async fn on_system<R, F, W>(&self, work: F) -> R
    where
        R: Send + 'static,
        W: Future<Output = R> + 'static,
        F: FnOnce(Rc<CoreState>) -> W + Send + 'static,
    {
        self.state.call_or(self.state.layout.core_of(SYSTEM_SHARD), work, |_, _| ()).await
    }

    /// Returns all metadata of a key's newest version, or `None` when there is no such object.
    ///
    /// # Errors
    /// Returns an error when a record is damaged or can not be read.
    pub async fn head(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectInfo>> {
        Ok(self.get(bucket, key).await?.map(|reader| reader.info().clone()))
    }

    /// Opens a key's newest version for reading. Returns `None` when there is no such object.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::open_version`].
    pub async fn get(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectReader>> {
        Ok(self.open_version(bucket, key, Version::Newest).await?.object())
    }

    /// Opens a version of a key for reading.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`], or an error when a record is damaged or can not be
    /// read.
    pub async fn open_version(&self, bucket: BucketId, key: &[u8], version: Version) -> Result<Opened> {
        self.state.check_bucket(bucket)?;
        let opened = ObjectReader::open(&self.state, bucket, key, version).await;
        opened.inspect_err(|error| self.state.note_refusal(error))
    }

    /// Begins a body of exactly `length` bytes.
    ///
    /// # Errors
    /// Returns an error when the bucket does not exist, the key is too long, or the node is
    /// closing.
    pub async fn put(&self, bucket: BucketId, key: &[u8], length: u64) -> Result<ObjectWriter> {
        self.admit(bucket, key)?;
        Ok(ObjectWriter::new(&self.state, bucket, key, Target::Object, length))
    }

    /// Begins a body of at most `length_max` bytes whose length is known only when it ends. It
    /// takes up to [`Self::growing_bytes_max`] bytes of memory more than a body that [`Self::put`]
    /// begins.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::put`].
    pub async fn put_growing(&self, bucket: BucketId, key: &[u8], length_max: u64) -> Result<ObjectWriter> {
        self.admit(bucket, key)?;
        Ok(ObjectWriter::growing(&self.state, bucket, key, length_max))
    }

    /// Returns the memory that a body of unknown length takes beside the buffers that every body takes,
    /// bytes.
    pub fn growing_bytes_max(&self) -> usize {
        growing_bytes_max(self.state.layout.geometry_of(0).shape)
    }

    /// Removes an object, or marks its key as deleted where the bucket keeps versions.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::delete_version`].
    pub async fn delete(&self, bucket: BucketId, key: &[u8], condition: WriteCondition) -> Result<Deleted> {
        self.delete_version(bucket, key, Version::Newest, condition).await
    }

    /// Removes a version of a key. With [`Version::Newest`], a bucket that keeps versions gets a
    /// delete marker instead. The condition is judged against the version that is named.
    ///
    /// # Errors
    /// Returns an error when the condition does not hold or the device fails, or when there is no
    /// space for a delete marker.
    pub async fn delete_version(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Version,
        condition: WriteCondition,
    ) -> Result<Deleted> {
        self.remove(bucket, key, Deletion { version, condition, bypass_governance: false }).await
    }

    /// Does what [`Self::delete_version`] does, on terms that may bypass a retention of governance.
    ///
    /// # Errors
    /// Returns [`EngineError::Locked`] for a version that is locked, or the same errors as
    /// [`Self::delete_version`].
    pub async fn remove(&self, bucket: BucketId, key: &[u8], deletion: Deletion) -> Result<Deleted> {
        self.admit(bucket, key)?;
        let delete = |key| ShardRequest::Delete { bucket, key, deletion };
        match self.ask_owner(bucket, key, delete).await? {
            ShardReply::Deleted(deleted) => Ok(deleted),
            other => other.mistaken(),
        }
    }

    /// Changes the metadata of a version, whose data stay where they are. Returns its modification
    /// time, a Unix time in milliseconds. The condition is judged against the key's newest version.
    ///
    /// # Errors
    /// Returns [`EngineError::Superseded`] when the version is gone or was changed meanwhile,
    /// [`EngineError::AttributesTooLarge`], or an error when the condition does not hold, there is
    /// no space or the device fails.
    pub async fn update_metadata(
        &self,
        bucket: BucketId,
        key: &[u8],
        change: MetadataChange,
        condition: WriteCondition,
    ) -> Result<u64> {
        self.admit(bucket, key)?;
        check_attributes(&change.attributes)?;
        let update = |key| ShardRequest::UpdateMetadata { bucket, key, change, condition };
        match self.ask_owner(bucket, key, update).await? {
            ShardReply::MetadataUpdated(modified_ms) => Ok(modified_ms),
            other => other.mistaken(),
        }
    }

    /// Returns a page of a bucket's listing over all shards, in UTF-8 byte order: the keys whose
    /// newest version is an object.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`].
    pub async fn list(&self, bucket: BucketId, query: &ListQuery) -> Result<ListPage> {
        let of_shard = |request: ListRequest<Vec<u8>>| {
            let query = ListQuery { after: request.after, ..query.clone() };
            ShardRequest::List { bucket, query, max: request.max }
        };
        let page = |reply| match reply {
            ShardReply::Page(page) => page,
            other => ShardReply::mistaken(&other),
        };
        let merge = ListMerge::<ListItem>::new(self.shards(), &query.after, query.max_items);
        self.merged(bucket, merge, of_shard, page).await
    }

    /// Returns a page of a bucket's versions over all shards, in UTF-8 byte order of the keys, those
    /// of a key with the newest first.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`].
    pub async fn list_versions(&self, bucket: BucketId, query: &VersionsQuery) -> Result<VersionsPage> {
        let first = VersionPlace { key: query.after_key.clone(), generation: FIRST_PAGE };
        let of_shard = |request: ListRequest<VersionPlace>| {
            let VersionPlace { key: after_key, generation } = request.after;
            let after_version = match generation {
                FIRST_PAGE => query.after_version,
                0 => None,
                generation => Some(Version::Generation(generation)),
            };
            let query = VersionsQuery { after_key, after_version, ..query.clone() };
            ShardRequest::ListVersions { bucket, query, max: request.max }
        };
        let page = |reply| match reply {
            ShardReply::Versions(page) => page,
            other => ShardReply::mistaken(&other),
        };
        let merge = ListMerge::<VersionItem>::new(self.shards(), &first, query.max_items);
        self.merged(bucket, merge, of_shard, page).await
    }

    /// Returns the id by which clients know a version of a key.
    pub fn id_of_version(&self, bucket: BucketId, key: &[u8], generation: u64) -> VersionId {
        self.state.layout.settings_of(0).version_id(bucket, key, generation)
    }

    /// Returns the version of a key that has this id, or `None` when no version of the key can ever
    /// have had it.
    pub fn version_of_id(&self, bucket: BucketId, key: &[u8], id: VersionId) -> Option<Version> {
        let own = self.id_of_version(bucket, key, id.generation) == id && id.generation != 0;
        own.then_some(Version::Generation(id.generation))
    }

    fn shards(&self) -> usize {
        usize::from(self.state.layout.shards)
    }

    /// Asks the shards for their pages until the merged one is full.
    async fn merged<I: Listable>(
        &self,
        bucket: BucketId,
        mut merge: ListMerge<I>,
        of_shard: impl Fn(ListRequest<I::Place>) -> ShardRequest,
        page: impl Fn(ShardReply) -> Page<I, I::Place>,
    ) -> Result<Page<I, I::Place>> {
        self.state.check_bucket(bucket)?;
        loop {
            let requests: Vec<_> = std::iter::from_fn(|| merge.next_request()).collect();
            if requests.is_empty() {
                return Ok(merge.finish());
            }
            let calls = requests.into_iter().map(|request| {
                let (shard, request) = (request.shard, of_shard(request));
                async move { (shard, self.state.ask(shard as u16, request).await) }
            });
            for (shard, reply) in futures_util::future::join_all(calls).await {
                merge.offer(shard, page(reply?));
            }
        }
    }

    /// Returns what a bucket holds, over all shards.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`].
    pub async fn bucket_usage(&self, bucket: BucketId) -> Result<BucketUsage> {
        self.state.check_bucket(bucket)?;
        let usage = self.state.usage_of(vec![bucket]).await?;
        Ok(usage.into_iter().next().unwrap_or_default())
    }

    /// Returns what each of these buckets holds, over all shards, in their order. A bucket that does
    /// not exist holds nothing.
    ///
    /// # Errors
    /// Returns the error of a shard that does not answer. No shard fails to answer today.
    pub async fn usage_of_buckets(&self, buckets: Vec<BucketId>) -> Result<Vec<BucketUsage>> {
        self.state.usage_of(buckets).await
    }

    /// Begins a multipart upload.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::put`], [`EngineError::AttributesTooLarge`], or an error
    /// when there is no space or the device fails.
    pub async fn create_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        attributes: Attributes,
    ) -> Result<UploadId> {
        self.admit(bucket, key)?;
        check_attributes(&attributes)?;
        let create = |key| ShardRequest::CreateUpload { bucket, key, attributes };
        match self.ask_owner(bucket, key, create).await? {
            ShardReply::UploadCreated(upload) => Ok(upload),
            other => other.mistaken(),
        }
    }

    /// Returns an upload with all its parts.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`].
    pub async fn upload(&self, bucket: BucketId, key: &[u8], upload: UploadId) -> Result<UploadInfo> {
        self.state.check_bucket(bucket)?;
        match self.ask_owner(bucket, key, |key| ShardRequest::Upload { bucket, key, upload }).await? {
            ShardReply::Upload(upload) => Ok(upload),
            other => other.mistaken(),
        }
    }

    /// Begins a part of exactly `length` bytes.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`], or the same errors as [`Self::put`].
    pub async fn put_part(
        &self,
        bucket: BucketId,
        key: &[u8],
        upload: UploadId,
        number: u16,
        length: u64,
    ) -> Result<ObjectWriter> {
        self.admit(bucket, key)?;
        // A missing upload is refused before the body comes, not after. The parts are not looked
        // at, so that their number does not matter.
        self.ask_owner(bucket, key, |key| ShardRequest::CheckUpload { bucket, key, upload }).await?;
        Ok(ObjectWriter::new(&self.state, bucket, key, Target::Part { upload, number }, length))
    }

    /// Makes the parts the object of the key without copying data. `parts` has the number and ETag
    /// of each part, ascending by number.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`], [`EngineError::InvalidPart`] (also for a part of very
    /// many that is replaced by one with the same ETag while this runs),
    /// [`EngineError::AttributesTooLarge`], or the same errors as [`ObjectWriter::commit`].
    pub async fn complete_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        upload: UploadId,
        parts: Vec<(u16, Etag)>,
        meta: ObjectMeta,
        condition: WriteCondition,
    ) -> Result<ObjectInfo> {
        self.admit(bucket, key)?;
        check_attributes(&meta.attributes)?;
        let shard = self.state.layout.shard_of_key(bucket, key);
        let _counted = self.state.bodies.begin();
        let table = if parts.len() > PARTS_IN_RECORD_MAX {
            let parts = parts.clone();
            let known = ShardRequest::PartsOf { bucket, key: key.to_vec(), upload, parts };
            let known = match self.state.ask(shard, known).await? {
                ShardReply::Parts(known) => known,
                other => other.mistaken(),
            };
            Some(write_table(&self.state, bucket, key, known).await?)
        } else {
            None
        };
        let commit = CompleteCommit { bucket, key: key.to_vec(), upload, parts, table, meta, condition };
        match self.state.ask(shard, ShardRequest::Complete(commit)).await? {
            ShardReply::Object(info) => Ok(info),
            other => other.mistaken(),
        }
    }

    /// Aborts an upload and frees its parts.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`].
    pub async fn abort_upload(&self, bucket: BucketId, key: &[u8], upload: UploadId) -> Result<()> {
        self.admit(bucket, key)?;
        self.ask_owner(bucket, key, |key| ShardRequest::AbortUpload { bucket, key, upload }).await.map(|_| ())
    }

    /// Aborts uploads of this core's shards that began more than `age_ms` ago, again and again
    /// until the core closes.
    pub async fn limit_upload_age(&self, age_ms: u64) {
        let pause_ms = (age_ms / UPLOAD_AGE_CHECKS).clamp(UPLOAD_PAUSE_MS_MIN, UPLOAD_PAUSE_MS_MAX);
        while !self.state.closing.get() {
            let before_ms = self.state.environment.wall_clock_ms().saturating_sub(age_ms);
            for shard in self.state.own_shards() {
                shard.abort_uploads_begun_before(before_ms).await;
            }
            self.state.environment.sleep(pause_ms).await;
        }
    }

    /// Returns a page of a bucket's uploads, ordered by key, then by id.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`].
    pub async fn list_uploads(&self, bucket: BucketId, query: &UploadQuery) -> Result<UploadPage> {
        self.state.check_bucket(bucket)?;
        let list = || ShardRequest::ListUploads { bucket, query: query.clone() };
        let pages = self.state.ask_all(list).await?.into_iter().map(|reply| match reply {
            ShardReply::Uploads(page) => page,
            other => other.mistaken(),
        });
        Ok(merge_uploads(pages.collect(), query.max_items))
    }

    /// Sends a request to the owner of a key and waits for the reply.
    async fn ask_owner(
        &self,
        bucket: BucketId,
        key: &[u8],
        request: impl FnOnce(Vec<u8>) -> ShardRequest,
    ) -> Result<ShardReply> {
        let shard = self.state.layout.shard_of_key(bucket, key);
        self.state.ask(shard, request(key.to_vec())).await
    }

    fn refuse_if_closing(&self) -> Result<()> {
        if self.state.closing.get() { Err(EngineError::ShuttingDown) } else { Ok(()) }
    }

    fn admit(&self, bucket: BucketId, key: &[u8]) -> Result<()> {
        self.refuse_if_closing()?;
        self.state.check_bucket(bucket)?;
        if key.len() > KEY_BYTES_MAX {
            return Err(EngineError::KeyTooLong { length: key.len(), limit: KEY_BYTES_MAX });
        }
        Ok(())
    }
}

/// Checks the total size of an object's attributes.
///
/// # Errors
/// Returns [`EngineError::AttributesTooLarge`].
pub(super) fn check_attributes(attributes: &Attributes) -> Result<()> {
    let length = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if length > ATTRIBUTES_BYTES_MAX {
        return Err(EngineError::AttributesTooLarge { length, limit: ATTRIBUTES_BYTES_MAX });
    }
    Ok(())
}

/// Merges the shards' pages, each of which is in order, into one.
fn merge_uploads(pages: Vec<UploadPage>, max_items: usize) -> UploadPage {
    let mut merged = UploadPage { truncated: pages.iter().any(|page| page.truncated), items: Vec::new() };
    // Each shard gave its first `max_items` items, so the first `max_items` of all are among them.
    let mut items: Vec<UploadItem> = pages.into_iter().flat_map(|page| page.items).collect();
    items.sort_by(|left, right| order_of(left).cmp(&order_of(right)));
    items.dedup_by(|left, right| matches!(left, UploadItem::CommonPrefix(_)) && left == right);
    merged.truncated |= items.len() > max_items;
    items.truncate(max_items);
    merged.items = items;
    merged
}

fn order_of(item: &UploadItem) -> (&[u8], u128) {
    match item {
        UploadItem::Upload(upload) => (&upload.key, upload.id.0),
        UploadItem::CommonPrefix(prefix) => (prefix, 0),
    }
}
