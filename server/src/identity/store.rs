//! The identities of a running node: one directory that all cores share, and the way of a change.
//!
//! Invariants:
//! - The records of the engine are the truth. A core's directory follows from them, and from nothing else
//!   but the node's root, which is kept outside.
//! - A change is answered once it is durable and every core has the directory that follows. So a request
//!   that comes later, on whatever connection, is judged by it.
//! - The lock of the shared directory is taken when it changes, and never for a request.

use super::directory::{Directory, Found};
use super::key_file::{KeyFileError, NodeKey};
use super::record::{KeyRecord, PROOF, ROOM, RecordName, decode, encode};
use super::seal::{Seal, SealError};
use ringbolt_engine::EngineError;
use ringbolt_engine::node::Core;
use ringbolt_engine::types::{NodeChange, NodeRecord, NodeRecords};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most keys whose last use one change of records notes.
const NOTED_AT_ONCE: usize = 1000;
/// How often a change is made anew because others came first, before that is an error.
const TRIES_MAX: usize = 100;

/// Records as a change puts or removes them.
pub type Changes = Vec<(String, Option<Vec<u8>>)>;

/// The reason why the identities of a node can not be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("the records of users can not be changed: {0}")]
    Engine(#[from] EngineError),
    #[error(
        "{} is missing, and the secrets of this node's access keys are sealed under it: restore it from your backup; if \
         it is lost, start once with --new-node-key, which removes those access keys",
        path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "{} is not the key under which the secrets of this node's access keys are sealed: restore the right one from \
         your backup; if it is lost, start once with --new-node-key, which removes those access keys",
        path.display()
    )]
    WrongKey { path: PathBuf },
}

/// The directory that all cores share.
#[derive(Debug)]
pub struct Shared {
    current: Mutex<Arc<Directory>>,
}

impl Shared {
    /// Begins with the directory that knows the node's root alone.
    pub fn new(root: Directory) -> Arc<Self> {
        Arc::new(Self { current: Mutex::new(Arc::new(root)) })
    }

    fn update(&self, make: impl FnOnce(&Directory) -> Option<Directory>) -> Arc<Directory> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = make(&current) {
            *current = Arc::new(next);
        }
        current.clone()
    }

    /// Takes a change, unless another core has.
    fn take(&self, change: &NodeChange) -> Arc<Directory> {
        self.update(|current| {
            let changes = change.changes.iter().map(|(name, value)| (&**name, value.as_deref()));
            // Before the records are loaded, changes are among what will be.
            (current.seal().is_some() && current.revision < change.revision)
                .then(|| current.after(change.revision, changes))
        })
    }

    /// Takes all records.
    fn load(&self, seal: Arc<Seal>, records: &NodeRecords) -> Arc<Directory> {
        self.update(|current| {
            let all = records.records.iter().map(|record| (&*record.name, Some(&*record.value)));
            Some(current.clone().with_seal(seal).after(records.revision, all))
        })
    }
}

/// The identities as one core sees them.
#[derive(Debug)]
pub struct Identity {
    shared: Arc<Shared>,
    current: RefCell<Arc<Directory>>,
    /// Grows with every directory that this core gets.
    version: Cell<u64>,
}

impl Identity {
    /// Makes the part of a core, which knows the node's root until [`Self::load`].
    pub fn new(shared: Arc<Shared>) -> Rc<Self> {
        let current = shared.update(|_| None);
        Rc::new(Self { shared, current: RefCell::new(current), version: Cell::new(0) })
    }

    /// Makes the identities of a server without records. It is for tests, fuzzing and measurements.
    pub fn fixed(directory: Directory) -> Rc<Self> {
        Self::new(Shared::new(directory))
    }

    /// Returns the directory as it is now.
    pub fn directory(&self) -> Arc<Directory> {
        self.current.borrow().clone()
    }

    /// Returns a number that changes when the directory does.
    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// Returns an access key for a signature, as [`Directory::find`] does.
    pub fn find(&self, access_key: &str) -> Option<Found> {
        self.current.borrow().find(access_key)
    }

    fn set(&self, directory: Arc<Directory>) {
        *self.current.borrow_mut() = directory;
        self.version.set(self.version.get() + 1);
    }

    /// Follows the changes of records on this core. It is called before [`Self::load`], so that none is
    /// missed.
    pub fn watch(self: &Rc<Self>, core: &Core) {
        let here = Rc::downgrade(self);
        core.watch_node_records(Rc::new(move |change| {
            if let Some(here) = here.upgrade() {
                here.set(here.shared.take(change));
            }
        }));
    }

    /// Waits until one core has loaded the records, and has them here too.
    pub async fn loaded(&self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(2);
        loop {
            let current = self.shared.update(|_| None);
            if current.seal().is_some() {
                return self.set(current);
            }
            monoio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Loads all records, once the core is open. Of all cores one calls this.
    pub async fn load(&self, core: &Core, seal: Arc<Seal>) {
        let records = core.node_records(ROOM).await;
        self.set(self.shared.load(seal, &records));
    }

    /// Makes sure of the key under which this node's secrets are sealed, and returns what seals them. Of
    /// all cores one calls this, before any calls [`Self::load`].
    ///
    /// # Errors
    /// Fails if secrets are sealed under another key than that of the file, or the file is missing. With
    /// `new_key` all sealed keys are removed instead.
    pub async fn open_seal(core: &Core, data_dir: &Path, new_key: bool) -> Result<Opened, IdentityError> {
        let path = data_dir.join(super::key_file::FILE_NAME);
        let proof = core.node_record(PROOF).await;
        let key = NodeKey::read(data_dir)?;
        let mut removed = 0;
        // A proof that found no room, or that damage took: the keys themselves tell.
        if proof.is_none() && !new_key {
            let seals = key.as_ref().map(Seal::new);
            match opens_any(core, seals.as_ref()).await {
                Some(false) if key.is_none() => return Err(IdentityError::NoKey { path }),
                Some(false) => return Err(IdentityError::WrongKey { path }),
                Some(true) | None => {}
            }
        }
        if let Some(proof) = &proof {
            let seal = key.as_ref().map(Seal::new);
            match seal {
                Some(seal) if seal.made(&proof.value) => {
                    return Ok(Opened { seal: Arc::new(seal), is_new: false, removed });
                }
                None if !new_key => return Err(IdentityError::NoKey { path }),
                Some(_) if !new_key => return Err(IdentityError::WrongKey { path }),
                _ => removed = remove_keys(core).await?,
            }
        }
        let (key, is_new) = match key {
            Some(key) => (key, false),
            None => (NodeKey::create(data_dir)?, true),
        };
        let seal = Seal::new(&key);
        let proof = vec![(PROOF.to_owned(), Some(seal.proof()?))];
        match core.change_node_records(proof, None).await {
            // A full node must start, so that somebody can delete something. It takes no keys before.
            Err(error @ (EngineError::NoSpace { .. } | EngineError::IndexFull { .. })) => {
                tracing::warn!(%error, "there is no room for the proof of the node's key; the next start tries again");
            }
            other => drop(other?),
        }
        Ok(Opened { seal: Arc::new(seal), is_new, removed })
    }

    /// Makes a change: `make` says what it is of the directory as it is. If others come first, it is
    /// asked again. Returns what it answered, once the change is durable and every core has it.
    ///
    /// # Errors
    /// Returns the error of `make` or of the engine.
    pub async fn change<R, E: From<EngineError>>(
        &self,
        core: &Core,
        make: impl Fn(&Directory) -> Result<(Changes, R), E>,
    ) -> Result<R, E> {
        for tries in 0.. {
            let directory = self.directory();
            let (changes, answer) = make(&directory)?;
            if changes.is_empty() {
                return Ok(answer);
            }
            match core.change_node_records(changes, Some(directory.revision)).await {
                Ok(_) => return Ok(answer),
                Err(EngineError::NodeRecordsChanged { .. }) if tries < TRIES_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the loop ends by itself")
    }

    /// Makes what is known of the last uses of keys durable. Of all cores one calls this, now and then and
    /// at the end.
    ///
    /// # Errors
    /// Returns the engine's error; what was not noted is noted the next time.
    pub async fn note_uses(&self, core: &Core) -> Result<usize, EngineError> {
        let unnoted: Vec<Box<str>> = {
            let directory = self.directory();
            directory.keys().filter(|key| key.has_unnoted_use()).map(|key| key.access_key.clone()).collect()
        };
        for group in unnoted.chunks(NOTED_AT_ONCE) {
            let make = |directory: &Directory| -> Result<(Changes, ()), EngineError> {
                let records = group.iter().filter_map(|access_key| {
                    let key = directory.key(access_key)?;
                    let record: KeyRecord = directory.record_of(key)?;
                    Some((RecordName::Key(access_key).text(), Some(encode(&record))))
                });
                Ok((records.collect(), ()))
            };
            self.change(core, make).await?;
        }
        Ok(unnoted.len())
    }
}

/// The key of a node that was made sure of.
pub struct Opened {
    pub seal: Arc<Seal>,
    /// Its file was made now, and should be copied to a safe place.
    pub is_new: bool,
    /// The number of access keys that were removed because the key that sealed them is lost.
    pub removed: usize,
}

/// Returns whether a seal opens one of the access keys that there are. None: there are none.
async fn opens_any(core: &Core, seal: Option<&Seal>) -> Option<bool> {
    let room = RecordName::Key("").text();
    let keys = core.node_records(&room).await.records;
    let opens = |record: &NodeRecord| {
        let access_key = record.name.strip_prefix(&*room)?;
        let key: KeyRecord = decode(&record.value).ok()?;
        let holder = KeyRecord::holder(access_key, &key.account, key.user.as_deref());
        seal?.open(&hex::decode(&key.secret).ok()?, &holder)
    };
    (!keys.is_empty()).then(|| keys.iter().any(|record| opens(record).is_some()))
}

async fn remove_keys(core: &Core) -> Result<usize, EngineError> {
    let keys = core.node_records(&RecordName::Key("").text()).await.records;
    let mut names: Vec<String> = keys.iter().map(|record| record.name.to_string()).collect();
    let removed = names.len();
    names.push(PROOF.to_owned());
    for group in names.chunks(NOTED_AT_ONCE) {
        let changes = group.iter().map(|name| (name.clone(), None)).collect();
        core.change_node_records(changes, None).await?;
    }
    Ok(removed)
}
