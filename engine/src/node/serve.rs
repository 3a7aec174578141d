//! The table of the engine's operations: how the owner of a shard serves each request, whichever
//! core asks.
//!
//! Invariants:
//! - A look-up is answered at once, on the core that owns the shard. What takes longer for another
//!   core is a task of its own, so that others have their turn.
//! - A client's request that writes to a bucket holds the bucket's permit from before the key's lock
//!   is taken until it has ended. The deletion of a bucket ends its uploads without one: it holds
//!   the bucket itself.
//! - A request of the same core is a call, one of another core a message. Neither is serialised.

use std::rc::Rc;

use super::bucket_map::WritePermit;
use super::lifecycle::preview_of_shard;
use super::message::{Answered, Asked, Message, Told};
use super::state::CoreState;
use crate::env::LocalFuture;
use crate::error::Result;
use crate::extent::allocator::Class;
use crate::extent::sets::Places;
use crate::format::record::SegmentV1;
use crate::shard::{Reservation, Reserved, Shard, ShardReply, ShardRequest};
use crate::types::{BucketId, RequestId};

enum Served {
    Now(Result<ShardReply>),
    Later(LocalFuture<Result<ShardReply>>),
}

/// Serves one request on the core of its shard.
// long: a table, with an entry for each request.
fn serve(core: &Rc<CoreState>, shard: u16, request: ShardRequest) -> Served {
    use {Served::Now, ShardReply as Reply, ShardRequest as Request};
    let (core, shard) = (core.clone(), core.shard(shard));
    match request {
        // Reading: the core that asks reads the bytes.
        Request::Lookup { bucket, key, version } => {
            Now(Ok(Reply::Found(shard.lookup(bucket, &key, version))))
        }
        Request::HasKey { bucket, key } => Now(Ok(Reply::Judged(shard.has_key(bucket, &key)))),
        Request::Unpin(pins) => {
            shard.unpin(pins);
            Now(Ok(Reply::Done))
        }
        Request::List { bucket, query, max } => {
            later(async move { Ok(Reply::Page(shard.list(bucket, &query, max))) })
        }
        Request::ListVersions { bucket, query, max } => {
            later(async move { Ok(Reply::Versions(shard.list_versions(bucket, query, max))) })
        }
        Request::Usage(buckets) => {
            Now(Ok(Reply::Usage(buckets.into_iter().map(|bucket| shard.usage(bucket)).collect())))
        }

        // Writing: the core that asks has written the slices of a large body.
        Request::Reserve(wanted) => later(async move { reserve(&shard, wanted).await }),
        Request::NewSegment => Now(Ok(Reply::Segment(shard.state.borrow_mut().new_generation()))),
        Request::Release { runs, length } => {
            shard.release(&runs, length);
            Now(Ok(Reply::Done))
        }
        Request::Put(commit) => later(async move {
            let _counted = core.bodies.begin();
            let _permit = permit(&core, &shard, commit.bucket, commit.body.segment()).await?;
            shard.put(commit).await.map(Reply::Object)
        }),
        Request::Delete { bucket, key, deletion } => later(async move {
            let _permit = core.permit(bucket).await?;
            shard.delete(bucket, key, deletion).await.map(Reply::Deleted)
        }),
        Request::UpdateMetadata { bucket, key, change, condition } => later(async move {
            let _permit = core.permit(bucket).await?;
            shard.update_metadata(bucket, key, change, condition).await.map(Reply::MetadataUpdated)
        }),

        // Multipart uploads.
        Request::CreateUpload { bucket, key, attributes } => later(async move {
            let _permit = core.permit(bucket).await?;
            shard.create_upload(bucket, key, attributes).await.map(Reply::UploadCreated)
        }),
        Request::CheckUpload { bucket, key, upload } => {
            Now(shard.check_upload(bucket, &key, upload).map(|()| Reply::Done))
        }
        Request::Upload { bucket, key, upload } => {
            later(async move { shard.upload(bucket, &key, upload).map(Reply::Upload) })
        }
        Request::PartsOf { bucket, key, upload, parts } => {
            later(async move { shard.parts_of(bucket, &key, upload, &parts).map(Reply::Parts) })
        }
        Request::ListUploads { bucket, query } => {
            later(async move { Ok(Reply::Uploads(shard.list_uploads(bucket, &query))) })
        }
        Request::PutPart(commit) => later(async move {
            let _counted = core.bodies.begin();
            let _permit = permit(&core, &shard, commit.bucket, Some(&commit.segment)).await?;
            shard.put_part(commit).await.map(Reply::Part)
        }),
        Request::Complete(commit) => later(async move {
            let _counted = core.bodies.begin();
            let table = commit.table.as_ref().map(|table| &table.segment);
            let _permit = permit(&core, &shard, commit.bucket, table).await?;
            shard.complete_upload(commit).await.map(Reply::Object)
        }),
        Request::AbortUpload { bucket, key, upload } => later(async move {
            let _permit = core.permit(bucket).await?;
            shard.abort_upload(bucket, key, upload).await.map(|()| Reply::Done)
        }),

        // Looking at what lifecycle rules would do.
        Request::PreviewLifecycle(wanted) => {
            later(async move { preview_of_shard(&core, &shard, wanted).await.map(Reply::LifecyclePreview) })
        }

        // Judging retentions.
        Request::LockTime => Now(Ok(Reply::LockTime(shard.keeps_time().then(|| shard.lock_time())))),
        Request::BeginTime => later(async move { shard.begin_time().await.map(|()| Reply::Done) }),
        Request::ConfirmTime => later(async move { shard.confirm_time().await.map(|()| Reply::Done) }),

        // Deleting a bucket.
        Request::Barrier => later(async move { shard.barrier().await.map(|()| Reply::Done) }),
        Request::IsBucketEmpty(bucket) => Now(Ok(Reply::Judged(shard.is_bucket_empty(bucket)))),
        Request::EndUploads(bucket) => {
            later(async move { shard.end_uploads(bucket).await.map(|()| Reply::Done) })
        }

        // Managing space, and ending all writing.
        Request::Reclaim(refusal) => later(async move { shard.reclaim(refusal).await.map(Reply::Judged) }),
        Request::Compact => later(async move { shard.compact().await.map(Reply::Judged) }),
        Request::Space => Now(Ok(Reply::Space(shard.space_of_copies()))),
        Request::StopWriting(error) => {
            shard.stop_writing(&error);
            Now(Ok(Reply::Done))
        }
    }
}

fn later(work: impl Future<Output = Result<ShardReply>> + 'static) -> Served {
    Served::Later(Box::pin(work))
}

async fn reserve(shard: &Rc<Shard>, wanted: Reservation) -> Result<ShardReply> {
    let Reservation { bucket, replaces, length, full, with_tail, needs_generation } = wanted;
    let generation = if needs_generation { shard.state.borrow_mut().new_generation() } else { 0 };
    let class = replaces.map_or(Class::User, |key| shard.class_of(bucket, &key, length));
    let runs = shard.reserve(length, full, with_tail, class).await?;
    let mut places = Places::default();
    shard.state.borrow().space.sets.add_places(&runs, &mut places);
    Ok(ShardReply::Reserved { generation, runs, places, length })
}

/// Gets the permit for a commit on its owner. While it waits, and if it is refused, the shard owns
/// the commit's slices and frees them. With the permit they belong to the commit again.
async fn permit(
    core: &Rc<CoreState>,
    shard: &Rc<Shard>,
    bucket: BucketId,
    segment: Option<&SegmentV1>,
) -> Result<WritePermit> {
    if let Ok(Some(permit)) = core.try_permit(bucket) {
        return Ok(permit);
    }
    let waiting = segment.map(|segment| Reserved::new(shard.clone(), segment.clone()));
    let permit = core.permit(bucket).await?;
    waiting.into_iter().for_each(Reserved::hand_over);
    Ok(permit)
}

impl CoreState {
    /// Sends a request to the owner of a shard, on this core or another, and waits for the reply.
    ///
    /// Work on another core goes on when the caller is dropped. What its reply holds is released
    /// then.
    ///
    /// # Errors
    /// Returns the error of the operation.
    pub(crate) async fn ask(self: &Rc<Self>, shard: u16, request: ShardRequest) -> Result<ShardReply> {
        let owner = self.layout.core_of(shard);
        // What upkeep finds concerns the objects of others.
        let client = RequestId::current().filter(|_| !request.is_upkeep());
        if owner == self.index {
            let must_end = request.must_end();
            return match serve(self, shard, request) {
                Served::Now(reply) => reply,
                Served::Later(work) if !must_end => work.await,
                Served::Later(work) => self.spawn_and_wait(shard, work, client).await,
            };
        }
        let (call, answer) = self.asked.register(Some(self.undo_of(shard)));
        let asked = Asked { from: self.index, call, shard, request, client };
        self.send_message(owner, Message::Ask(Box::new(asked)));
        answer.await
    }

    /// Sends a request to every shard of the node and waits for all replies.
    ///
    /// # Errors
    /// Returns the error of the first shard, by number, whose operation failed.
    pub(super) async fn ask_all(
        self: &Rc<Self>,
        request: impl Fn() -> ShardRequest,
    ) -> Result<Vec<ShardReply>> {
        let asked = (0..self.layout.shards).map(|shard| self.ask(shard, request()));
        futures_util::future::join_all(asked).await.into_iter().collect()
    }

    /// Sends a request whose reply nobody needs.
    pub(crate) fn tell(self: &Rc<Self>, shard: u16, request: ShardRequest) {
        let owner = self.layout.core_of(shard);
        if owner == self.index {
            return self.served_for_nobody(shard, request);
        }
        self.send_message(owner, Message::Tell(Box::new(Told { shard, request })));
    }

    async fn spawn_and_wait(
        self: &Rc<Self>,
        shard: u16,
        work: LocalFuture<Result<ShardReply>>,
        client: Option<RequestId>,
    ) -> Result<ShardReply> {
        let (call, answer) = self.asked.register(Some(self.undo_of(shard)));
        let here = self.clone();
        let work = async move { here.asked.complete(call, work.await) };
        self.environment.spawn(RequestId::carried(client, work));
        answer.await
    }

    /// Returns the function that releases what a reply holds when its caller is gone. The table of
    /// calls belongs to this core, so an entry in it must not keep the core alive.
    fn undo_of(self: &Rc<Self>, shard: u16) -> Box<dyn FnOnce(Result<ShardReply>)> {
        let here = Rc::downgrade(self);
        Box::new(move |reply| {
            let undo = reply.ok().and_then(ShardReply::into_undo);
            if let (Some(undo), Some(here)) = (undo, here.upgrade()) {
                here.tell(shard, undo);
            }
        })
    }

    fn served_for_nobody(self: &Rc<Self>, shard: u16, request: ShardRequest) {
        match serve(self, shard, request) {
            Served::Now(_) => {}
            Served::Later(work) => self.environment.spawn(Box::pin(async move { drop(work.await) })),
        }
    }

    /// Serves a request of another core.
    pub(super) fn asked(self: &Rc<Self>, asked: Asked) {
        let Asked { from, call, shard, request, client } = asked;
        let entered = client.map(RequestId::enter);
        let served = serve(self, shard, request);
        drop(entered);
        match served {
            Served::Now(reply) => self.answer(from, call, reply),
            Served::Later(work) => {
                let here = self.clone();
                let work = async move { here.answer(from, call, work.await) };
                self.environment.spawn(RequestId::carried(client, work));
            }
        }
    }

    /// Serves a request of another core that does not wait for a reply.
    pub(super) fn told(self: &Rc<Self>, told: Told) {
        self.served_for_nobody(told.shard, told.request);
    }

    /// Takes a reply of another core.
    pub(super) fn answered(&self, answered: Answered) {
        self.asked.complete(answered.call, answered.reply);
    }

    fn answer(self: &Rc<Self>, to: usize, call: u64, reply: Result<ShardReply>) {
        self.send_message(to, Message::Answer(Box::new(Answered { call, reply })));
    }
}
