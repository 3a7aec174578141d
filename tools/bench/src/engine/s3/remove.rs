//! This module deletes the objects that a run's jobs have put, after the run, if `unlink=1` asks
//! for it.

use super::failure::Failure;
use super::line::Call;
use super::prepare;
use super::shared::Shared;
use crate::spec::Direction;
use std::cell::RefCell;
use std::rc::Rc;

/// Deletes every object whose key is one of the job's, and returns their number. The bucket stays.
///
/// # Errors
/// Returns the first failure.
pub async fn objects(shared: &Rc<Shared>) -> Result<u64, Failure> {
    let mut labels = Direction::ALL.map(|of| shared.objects.label(of).to_owned()).to_vec();
    labels.sort_unstable();
    labels.dedup();
    let mut removed = 0;
    for label in labels {
        let mut after = String::new();
        loop {
            let mut line = shared.line(0);
            let page = prepare::page(shared, &mut line, &label, &after).await?;
            let Some((last, _)) = page.entries.last() else { break };
            after.clone_from(last);
            let is_own = |key: &String| key.strip_prefix(&label).is_some_and(is_number);
            let keys: Vec<String> = page.entries.into_iter().map(|(key, _)| key).filter(is_own).collect();
            removed += keys.len() as u64;
            delete(shared, keys).await?;
            if !page.has_more {
                break;
            }
        }
    }
    Ok(removed)
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Deletes keys, one at a time on each connection.
async fn delete(shared: &Rc<Shared>, keys: Vec<String>) -> Result<(), Failure> {
    let keys = Rc::new(RefCell::new(keys));
    let worker = |slot: usize| {
        let (shared, keys) = (shared.clone(), keys.clone());
        async move {
            let mut line = shared.line(slot);
            let mut none = Box::default();
            while let Some(key) = { keys.borrow_mut().pop() } {
                shared.name_bucket(&mut line);
                line.pieces.path.push(b'/');
                line.pieces.path.extend_from_slice(key.as_bytes());
                line.render(&shared.signer, "DELETE", None);
                shared.watched(slot, line.exchange(Call::PLAIN, &mut none)).await?;
            }
            Ok::<(), Failure>(())
        }
    };
    let workers: Vec<_> = (0..shared.watches.len()).map(|slot| monoio::spawn(worker(slot))).collect();
    for worker in workers {
        worker.await?;
    }
    Ok(())
}
